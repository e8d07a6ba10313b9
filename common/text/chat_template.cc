#include "common/text/chat_template.h"

#include <utility>

#include "common/base/status.h"
#include "common/text/rust_status.h"

namespace baton::text {
namespace {

using Json = ChatTemplate::Json;

const uint8_t* BytesOf(std::string_view text) {
  return reinterpret_cast<const uint8_t*>(text.data());
}

// Only the tokens that the model has: templates test them with `is defined`.
Json SpecialTokens(const TokenizerConfig& config) {
  Json tokens = Json::object();
  const auto add = [&](const char* name, const std::string& token) {
    if (!token.empty()) tokens[name] = token;
  };
  add("bos_token", config.bos_token);
  add("eos_token", config.eos_token);
  add("unk_token", config.unk_token);
  add("pad_token", config.pad_token);
  return tokens;
}

absl::StatusOr<std::string> Serialized(const Json& context) {
  try {
    return context.dump();
  } catch (const Json::exception&) {
    return InvalidArgument("messages: not valid UTF-8");
  }
}

}  // namespace

absl::StatusOr<std::unique_ptr<ChatTemplate>> ChatTemplate::Load(std::string_view model_dir) {
  ASSIGN_OR_RETURN(const TokenizerConfig config, TokenizerConfig::Load(model_dir));
  return FromConfig(config);
}

absl::StatusOr<std::unique_ptr<ChatTemplate>> ChatTemplate::FromConfig(
    const TokenizerConfig& config) {
  if (!config.chat_template) {
    return FailedPrecondition("{}: missing, the model has no chat template",
                              config.chat_template_source);
  }
  const std::string& source = *config.chat_template;
  baton_text_template* handle = nullptr;
  baton_text_bytes error = {};
  const baton_text_code code =
      baton_text_template_compile(BytesOf(source), source.size(), &handle, &error);
  if (code != BATON_TEXT_OK) {
    // Whatever is wrong with it, it is the model's.
    return FailedPrecondition("{}: {}", config.chat_template_source,
                              MessageOf(TakeError(code, error)));
  }
  return std::unique_ptr<ChatTemplate>(new ChatTemplate(Handle(handle), config));
}

ChatTemplate::ChatTemplate(Handle handle, const TokenizerConfig& config)
    : handle_(std::move(handle)),
      special_tokens_(SpecialTokens(config)),
      source_(config.chat_template_source) {}

absl::StatusOr<std::string> ChatTemplate::Render(const Input& input) const {
  if (!input.messages.is_array()) return InvalidArgument("messages: must be a list");
  if (input.tools != nullptr && !input.tools->is_array()) {
    return InvalidArgument("tools: must be a list");
  }
  if (input.extra != nullptr && !input.extra->is_object()) {
    return InvalidArgument("chat_template_kwargs: must be an object");
  }
  ASSIGN_OR_RETURN(const std::string context, Serialized(ContextOf(input)));
  baton_text_bytes out = {};
  const baton_text_code code = baton_text_template_render(
      handle_.get(), BytesOf(context), context.size(), absl::ToUnixSeconds(input.now), &out);
  if (code == BATON_TEXT_OK) return TakeString(out);
  const absl::Status status = TakeError(code, out);
  const bool users = absl::IsInvalidArgument(status);
  return Annotate(status, users ? "messages: the model's chat template refuses them" : source_);
}

// The variables that `transformers` sets: tools and documents exist even when there are none.
Json ChatTemplate::ContextOf(const Input& input) const {
  Json context = special_tokens_;
  context["tools"] = nullptr;
  context["documents"] = nullptr;
  if (input.extra != nullptr) context.update(*input.extra);
  if (input.tools != nullptr) context["tools"] = *input.tools;
  context["messages"] = input.messages;
  context["add_generation_prompt"] = input.add_generation_prompt;
  return context;
}

}  // namespace baton::text
