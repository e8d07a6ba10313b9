#include "services/router/openai/response_shape.h"

#include <algorithm>
#include <cmath>
#include <span>

namespace baton::router::openai {
namespace {

// JSON knows no infinity; OpenAI's own floor.
float Finite(float logprob) { return std::isfinite(logprob) ? logprob : -9999.0f; }

Json FinishJson(FinishReason reason) {
  return reason == FinishReason::kNone ? Json(nullptr) : Json(NameOf(reason));
}

}  // namespace

Json UsageJson(const UsageCounts& usage) {
  return Json{{"prompt_tokens", usage.prompt_tokens},
              {"completion_tokens", usage.completion_tokens},
              {"total_tokens", usage.prompt_tokens + usage.completion_tokens},
              {"prompt_tokens_details", {{"cached_tokens", usage.cached_tokens}}}};
}

ResponseShape::ResponseShape(Options options, const ServedModel& model)
    : options_(std::move(options)), model_(model) {}

Json ResponseShape::Envelope(bool chunk) const {
  Json json;
  json["id"] = (chat() ? "chatcmpl-" : "cmpl-") + options_.id;
  json["object"] =
      chat() ? (chunk ? "chat.completion.chunk" : "chat.completion") : "text_completion";
  json["created"] = options_.created;
  json["model"] = model_.name();
  return json;
}

std::string ResponseShape::Chunk(Json choice) const {
  Json json = Envelope(/*chunk=*/true);
  json["choices"] = Json::array({std::move(choice)});
  if (options_.include_usage) json["usage"] = nullptr;
  return Dump(json);
}

std::string ResponseShape::RoleChunk(int32_t index) const {
  return Chunk({{"index", index},
                {"delta", {{"role", "assistant"}, {"content", ""}}},
                {"logprobs", nullptr},
                {"finish_reason", nullptr}});
}

std::string ResponseShape::PieceChunk(int32_t index, const Piece& piece, size_t text_offset) const {
  Json choice{{"index", index}};
  if (chat()) {
    choice["delta"] = Json{{"content", piece.text}};
  } else {
    choice["text"] = piece.text;
  }
  choice["logprobs"] = nullptr;
  choice["finish_reason"] = nullptr;
  AddTokens(piece.tokens, piece.hidden_tokens, text_offset, choice);
  return Chunk(std::move(choice));
}

std::string ResponseShape::EndChunk(int32_t index, const ChoiceEnd& end) const {
  Json choice{{"index", index}};
  if (chat()) {
    choice["delta"] = Json::object();
  } else {
    choice["text"] = "";
  }
  choice["logprobs"] = nullptr;
  choice["finish_reason"] = FinishJson(end.reason);
  if (!end.stop.empty()) choice["stop_reason"] = end.stop;
  return Chunk(std::move(choice));
}

std::string ResponseShape::UsageChunk(const UsageCounts& usage) const {
  Json json = Envelope(/*chunk=*/true);
  json["choices"] = Json::array();
  json["usage"] = UsageJson(usage);
  return Dump(json);
}

std::string ResponseShape::Whole(const std::vector<WholeChoice>& choices,
                                 const UsageCounts& usage) const {
  Json json = Envelope(/*chunk=*/false);
  json["choices"] = Json::array();
  for (size_t i = 0; i < choices.size(); ++i) {
    const WholeChoice& said = choices[i];
    Json choice{{"index", i}};
    if (chat()) {
      choice["message"] = Json{{"role", "assistant"}, {"content", said.text}, {"refusal", nullptr}};
    } else {
      choice["text"] = said.text;
    }
    choice["logprobs"] = nullptr;
    choice["finish_reason"] = FinishJson(said.reason);
    if (!said.stop.empty()) choice["stop_reason"] = said.stop;
    AddTokens(said.tokens, said.hidden_tokens, 0, choice);
    json["choices"].push_back(std::move(choice));
  }
  json["usage"] = UsageJson(usage);
  return Dump(json);
}

void ResponseShape::AddTokens(const std::vector<GeneratedToken>& tokens, int32_t hidden,
                              size_t text_offset, Json& choice) const {
  if (options_.logprobs) {
    const auto shown = std::span(tokens).first(tokens.size() - static_cast<size_t>(hidden));
    choice["logprobs"] = chat() ? ChatLogprobs(shown) : CompletionLogprobs(shown, text_offset);
  }
  if (options_.return_token_ids) {
    Json ids = Json::array();
    for (const GeneratedToken& token : tokens) ids.push_back(token.token);
    choice["token_ids"] = std::move(ids);
  }
}

Json ResponseShape::TokenChanceJson(int32_t token, float logprob) const {
  Json bytes = Json::array();
  for (const char c : model_.tokenizer().TokenBytes(token)) {
    bytes.push_back(static_cast<unsigned char>(c));
  }
  return Json{{"token", model_.tokenizer().TokenText(token)},
              {"logprob", Finite(logprob)},
              {"bytes", std::move(bytes)}};
}

Json ResponseShape::ChatLogprobs(std::span<const GeneratedToken> tokens) const {
  Json content = Json::array();
  for (const GeneratedToken& token : tokens) {
    Json entry = TokenChanceJson(token.token, token.logprob);
    entry["top_logprobs"] = Json::array();
    for (const TokenChance& chance : token.top) {
      entry["top_logprobs"].push_back(TokenChanceJson(chance.token, chance.logprob));
    }
    content.push_back(std::move(entry));
  }
  return Json{{"content", std::move(content)}, {"refusal", nullptr}};
}

Json ResponseShape::CompletionLogprobs(std::span<const GeneratedToken> tokens,
                                       size_t text_offset) const {
  Json json{{"tokens", Json::array()},
            {"token_logprobs", Json::array()},
            {"top_logprobs", Json::array()},
            {"text_offset", Json::array()}};
  for (const GeneratedToken& token : tokens) {
    const std::string text = model_.tokenizer().TokenText(token.token);
    json["tokens"].push_back(text);
    json["token_logprobs"].push_back(Finite(token.logprob));
    Json top = Json::object();
    for (const TokenChance& chance : token.top) {
      top[model_.tokenizer().TokenText(chance.token)] = Finite(chance.logprob);
    }
    json["top_logprobs"].push_back(std::move(top));
    json["text_offset"].push_back(text_offset);
    text_offset += text.size();
  }
  return json;
}

}  // namespace baton::router::openai
