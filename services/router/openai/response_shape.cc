#include "services/router/openai/response_shape.h"

#include <algorithm>
#include <cmath>
#include <span>
#include <string_view>

namespace baton::router::openai {
namespace {

// JSON knows no infinity; OpenAI's own floor.
float Finite(float logprob) { return std::isfinite(logprob) ? logprob : -9999.0f; }

Json FinishJson(FinishReason reason) {
  return reason == FinishReason::kNone ? Json(nullptr) : Json(NameOf(reason));
}

// As the library writes it. Most pieces of text have nothing to escape, and there is one per token.
void AppendQuoted(std::string_view text, std::string& json) {
  const bool plain = std::all_of(text.begin(), text.end(), [](char c) {
    return c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
  });
  if (!plain) {
    json += Dump(Json(text));
    return;
  }
  json += '"';
  json += text;
  json += '"';
}

}  // namespace

Json UsageJson(const UsageCounts& usage) {
  return Json{{"prompt_tokens", usage.prompt_tokens},
              {"completion_tokens", usage.completion_tokens},
              {"total_tokens", usage.prompt_tokens + usage.completion_tokens},
              {"prompt_tokens_details", {{"cached_tokens", usage.cached_tokens}}}};
}

ResponseShape::ResponseShape(Options options, const ServedModel& model)
    : options_(std::move(options)), model_(model) {
  Json json = Envelope(/*chunk=*/true);
  json["choices"] = Json::array();
  if (options_.include_usage) json["usage"] = nullptr;
  // Inside of a string a quotation mark follows a backslash, so this is found in no name.
  constexpr std::string_view kChoices = "\"choices\":[";
  const std::string chunk = Dump(json);
  const size_t at = chunk.find(kChoices) + kChoices.size();
  head_ = chunk.substr(0, at);
  tail_ = chunk.substr(at);
}

Json ResponseShape::Envelope(bool chunk) const {
  Json json;
  json["id"] = (chat() ? "chatcmpl-" : "cmpl-") + options_.id;
  json["object"] =
      chat() ? (chunk ? "chat.completion.chunk" : "chat.completion") : "text_completion";
  json["created"] = options_.created;
  json["model"] = model_.name();
  return json;
}

std::string ResponseShape::RoleChunk(int32_t index) const {
  return Chunk({{"index", index},
                {"delta", {{"role", "assistant"}, {"content", ""}}},
                {"logprobs", nullptr},
                {"finish_reason", nullptr}});
}

std::string ResponseShape::PieceChunk(int32_t index, const Piece& piece) const {
  if (!options_.logprobs && !options_.return_token_ids) return TextChunk(index, piece.text);
  Json choice{{"index", index}};
  if (chat()) {
    choice["delta"] = Json{{"content", piece.text}};
  } else {
    choice["text"] = piece.text;
  }
  choice["logprobs"] = nullptr;
  choice["finish_reason"] = nullptr;
  AddTokens(piece.prompt, piece.tokens, piece.hidden_tokens, choice);
  return Chunk(choice);
}

// The same without a JSON object in between, which would cost fifteen times as much.
std::string ResponseShape::TextChunk(int32_t index, std::string_view text) const {
  constexpr std::string_view kEnd = ",\"logprobs\":null,\"finish_reason\":null}";
  std::string json;
  json.reserve(head_.size() + text.size() + tail_.size() + 100);
  json += head_;
  json += "{\"index\":";
  json += std::to_string(index);
  json += chat() ? ",\"delta\":{\"content\":" : ",\"text\":";
  AppendQuoted(text, json);
  if (chat()) json += '}';
  json += kEnd;
  json += tail_;
  return json;
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
  return Chunk(choice);
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
    AddTokens(said.prompt, said.tokens, said.hidden_tokens, choice);
    json["choices"].push_back(std::move(choice));
  }
  json["usage"] = UsageJson(usage);
  return Dump(json);
}

// A chat's log-probabilities are those of its content. A completion's are those of all tokens, the
// one that ended it included: whoever scores a text with max_tokens 1 counts on one more than the
// prompt has.
void ResponseShape::AddTokens(std::span<const ShownToken> prompt,
                              std::span<const ShownToken> tokens, int32_t hidden,
                              Json& choice) const {
  if (options_.logprobs && chat()) {
    choice["logprobs"] = ChatLogprobs(tokens.first(tokens.size() - static_cast<size_t>(hidden)));
  } else if (options_.logprobs) {
    Json logprobs{{"tokens", Json::array()},
                  {"token_logprobs", Json::array()},
                  {"top_logprobs", Json::array()},
                  {"text_offset", Json::array()}};
    AddCompletionLogprobs(prompt, logprobs);
    AddCompletionLogprobs(tokens, logprobs);
    choice["logprobs"] = std::move(logprobs);
  }
  if (options_.return_token_ids) {
    Json ids = Json::array();
    for (const ShownToken& token : tokens) ids.push_back(token.token);
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

Json ResponseShape::ChatLogprobs(std::span<const ShownToken> tokens) const {
  Json content = Json::array();
  for (const ShownToken& token : tokens) {
    Json entry = TokenChanceJson(token.token, token.logprob.value_or(0));
    entry["top_logprobs"] = Json::array();
    for (const TokenChance& chance : token.top) {
      entry["top_logprobs"].push_back(TokenChanceJson(chance.token, chance.logprob));
    }
    content.push_back(std::move(entry));
  }
  return Json{{"content", std::move(content)}, {"refusal", nullptr}};
}

void ResponseShape::AddCompletionLogprobs(std::span<const ShownToken> tokens,
                                          Json& logprobs) const {
  for (const ShownToken& token : tokens) {
    logprobs["tokens"].push_back(model_.tokenizer().TokenText(token.token));
    // Null for a prompt's first token, as OpenAI has it.
    logprobs["token_logprobs"].push_back(token.logprob ? Json(Finite(*token.logprob)) : Json());
    logprobs["top_logprobs"].push_back(token.logprob ? TopLogprobs(token) : Json());
    logprobs["text_offset"].push_back(token.text_offset);
  }
}

// Also the token itself where it is not among the likeliest, as OpenAI has it. Two tokens may have
// the same text (pieces of a character): the likelier one keeps its place.
Json ResponseShape::TopLogprobs(const ShownToken& token) const {
  Json top = Json::object();
  for (const TokenChance& chance : token.top) {
    top.emplace(model_.tokenizer().TokenText(chance.token), Finite(chance.logprob));
  }
  if (!token.top.empty()) {
    top.emplace(model_.tokenizer().TokenText(token.token), Finite(*token.logprob));
  }
  return top;
}

}  // namespace baton::router::openai
