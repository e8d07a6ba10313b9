#include "services/router/openai/request_parser.h"

#include <array>

#include "services/router/openai/field_reader.h"

namespace baton::router::openai {
namespace {

constexpr size_t kPromptsMax = 64;
constexpr int32_t kCompletionTokensDefault = 16;  // as OpenAI's completions

// ---- what is refused by name -------------------------------------------------------------------

absl::Status NotSupported(std::string_view field) {
  return WithErrorCode(FieldError(field, "{} is not supported yet", field),
                       "unsupported_parameter");
}

bool MeansSomething(const Json& value) {
  if (value.is_boolean()) return value.get<bool>();
  if (value.is_array() || value.is_object() || value.is_string()) {
    return value.is_string() ? !value.get_ref<const std::string&>().empty() : !value.empty();
  }
  return true;
}

// Ignoring these would give another answer than the one asked for.
constexpr std::array kRefused = {
    "functions",   "function_call",   "audio",         "prediction",     "web_search_options",
    "guided_json", "guided_regex",    "guided_choice", "guided_grammar", "structured_outputs",
    "suffix",      "use_beam_search", "prompt_embeds", "prompt_logprobs"};

absl::Status CheckModalities(FieldReader& fields) {
  std::vector<std::string> modalities;
  fields.ReadStrings("modalities", &modalities);
  for (const std::string& modality : modalities) {
    if (modality != "text") return NotSupported("modalities");
  }
  return fields.status();
}

absl::Status CheckResponseFormat(FieldReader& fields) {
  const Json* format = fields.Find("response_format");
  if (format == nullptr) return absl::OkStatus();
  if (!format->is_object()) {
    fields.FailType("response_format", "an object", *format);
    return fields.status();
  }
  std::string type = "text";
  FieldReader inner(*format, "response_format");
  inner.Read("type", &type);
  RETURN_IF_ERROR(inner.status());
  return type == "text" ? absl::OkStatus() : NotSupported("response_format");
}

absl::Status CheckTools(FieldReader& fields) {
  const Json* choice = fields.Find("tool_choice");
  const bool none = choice != nullptr && choice->is_string() && *choice == "none";
  if (choice != nullptr && !none && !(choice->is_string() && *choice == "auto")) {
    return NotSupported("tool_choice");
  }
  const Json* tools = fields.Find("tools");
  if (tools != nullptr && !none && MeansSomething(*tools)) return NotSupported("tools");
  return absl::OkStatus();
}

absl::Status CheckRefused(FieldReader& fields, int32_t n) {
  for (const char* name : kRefused) {
    const Json* value = fields.Find(name);
    if (value != nullptr && MeansSomething(*value)) return NotSupported(name);
  }
  std::optional<int32_t> best_of;
  fields.Read("best_of", &best_of);
  RETURN_IF_ERROR(fields.status());
  if (best_of && *best_of != n) return NotSupported("best_of");
  RETURN_IF_ERROR(CheckModalities(fields));
  RETURN_IF_ERROR(CheckTools(fields));
  return CheckResponseFormat(fields);
}

// ---- what both endpoints share -----------------------------------------------------------------

void ReadMaxTokens(FieldReader& fields, int32_t least, SamplingParams& sampling) {
  // The newer name wins where a client sends both.
  for (const char* name : {"max_tokens", "max_completion_tokens"}) {
    std::optional<int32_t> tokens;
    fields.Read(name, &tokens);
    if (!tokens || !fields.ok()) continue;
    if (*tokens < least) {
      return fields.Fail(FieldError(name, "{} must be at least {}, got {}", name, least, *tokens));
    }
    sampling.max_tokens = *tokens;
  }
}

void ReadSampling(FieldReader& fields, SamplingParams& sampling) {
  fields.Read("temperature", &sampling.temperature);
  fields.Read("top_k", &sampling.top_k);
  if (sampling.top_k == -1) sampling.top_k = 0;  // how other servers say "off"
  fields.Read("top_p", &sampling.top_p);
  fields.Read("min_p", &sampling.min_p);
  fields.Read("repetition_penalty", &sampling.repetition_penalty);
  fields.Read("presence_penalty", &sampling.presence_penalty);
  fields.Read("frequency_penalty", &sampling.frequency_penalty);
  fields.ReadBiases("logit_bias", &sampling.logit_bias);
  fields.Read("seed", &sampling.seed);
  fields.Read("min_tokens", &sampling.min_tokens);
  fields.Read("ignore_eos", &sampling.ignore_eos);
  fields.Read("stop_token_ids", &sampling.stop_token_ids);
  fields.ReadStrings("stop", &sampling.stop_strings);
  fields.Read("include_stop_str_in_output", &sampling.include_stop_in_output);
}

void ReadStream(FieldReader& fields, ApiCall& call) {
  fields.Read("stream", &call.stream);
  fields.Read("return_token_ids", &call.return_token_ids);
  const Json* options = fields.Find("stream_options");
  if (options == nullptr) return;
  if (!options->is_object()) return fields.FailType("stream_options", "an object", *options);
  if (!call.stream) {
    return fields.Fail(FieldError("stream_options", "stream_options goes with stream: true only"));
  }
  FieldReader inner(*options, "stream_options");
  inner.Read("include_usage", &call.include_usage);
  fields.Fail(inner.status());
}

void ReadTimeout(FieldReader& fields, ClientRequest& request) {
  std::optional<float> seconds;
  fields.Read("timeout", &seconds);
  if (seconds) request.timeout = absl::Seconds(*seconds);
}

void ReadCommon(FieldReader& fields, ApiCall& call, ClientRequest& request) {
  fields.Read("model", &request.model);
  fields.Read("n", &request.n);
  fields.Read("priority", &request.priority);
  fields.Read("user", &request.user);
  ReadTimeout(fields, request);
  ReadSampling(fields, request.sampling);
  ReadStream(fields, call);
}

// ---- chat --------------------------------------------------------------------------------------

// A list of parts: text only, joined.
std::string ReadParts(const Json& parts, const std::string& path, FieldReader& fields) {
  std::string text;
  for (size_t i = 0; i < parts.size() && fields.ok(); ++i) {
    const std::string here = fmt::format("{}[{}]", path, i);
    if (!parts[i].is_object()) {
      fields.FailType(here, "an object", parts[i]);
      break;
    }
    FieldReader part(parts[i], here);
    std::string type;
    std::string piece;
    part.Read("type", &type);
    if (part.ok() && type != "text" && type != "input_text") {
      part.Fail(WithErrorCode(
          FieldError(here + ".type", "{}.type \"{}\" is not supported, only \"text\" is", here,
                     type.substr(0, 64)),
          "unsupported_content_type"));
    }
    if (part.ok() && part.Find("text") == nullptr) {
      part.Fail(FieldError(here + ".text", "{}.text is missing", here));
    }
    part.Read("text", &piece);
    fields.Fail(part.status());
    text += piece;
  }
  return text;
}

void ReadContent(FieldReader& fields, const std::string& role, Json& message) {
  const Json* content = fields.Find("content");
  const std::string path = fields.PathOf("content");
  if (content == nullptr) {
    // Only an assistant that called tools says nothing.
    if (fields.ok() && fields.Find("tool_calls") == nullptr) {
      fields.Fail(FieldError(path, "{} is missing", path));
    }
    message["content"] = "";
  } else if (content->is_string()) {
    message["content"] = *content;
  } else if (content->is_array()) {
    message["content"] = ReadParts(*content, path, fields);
  } else {
    fields.FailType(path, "a string or a list of parts", *content);
  }
}

std::string ReadRole(FieldReader& fields) {
  std::string role;
  const std::string path = fields.PathOf("role");
  if (fields.Find("role") == nullptr) fields.Fail(FieldError(path, "{} is missing", path));
  fields.Read("role", &role);
  return role;
}

absl::StatusOr<Json> ReadMessage(const Json& given, size_t index) {
  const std::string path = fmt::format("messages[{}]", index);
  if (!given.is_object()) {
    return FieldError(path, "{} must be an object, got {}", path, given.type_name());
  }
  FieldReader fields(given, path);
  Json message;
  message["role"] = ReadRole(fields);
  ReadContent(fields, message["role"].get<std::string>(), message);
  RETURN_IF_ERROR(fields.status());
  for (const char* name : {"name", "tool_calls", "tool_call_id"}) {
    if (const Json* value = fields.Find(name)) message[name] = *value;
  }
  return message;
}

absl::StatusOr<ChatPrompt> ReadMessages(FieldReader& fields) {
  RETURN_IF_ERROR(fields.status());
  const Json* messages = fields.Find("messages");
  if (messages == nullptr) return FieldError("messages", "messages is missing");
  if (!messages->is_array()) {
    fields.FailType("messages", "a list", *messages);
    return fields.status();
  }
  ChatPrompt chat;
  for (size_t i = 0; i < messages->size(); ++i) {
    ASSIGN_OR_RETURN(Json message, ReadMessage((*messages)[i], i));
    chat.messages.push_back(std::move(message));
  }
  fields.Read("add_generation_prompt", &chat.add_generation_prompt);
  if (const Json* extra = fields.Find("chat_template_kwargs")) {
    if (!extra->is_object()) fields.FailType("chat_template_kwargs", "an object", *extra);
    chat.extra = *extra;
  }
  RETURN_IF_ERROR(fields.status());
  return chat;
}

void ReadChatLogprobs(FieldReader& fields, SamplingParams& sampling) {
  bool wanted = false;
  std::optional<int32_t> top;
  fields.Read("logprobs", &wanted);
  fields.Read("top_logprobs", &top);
  if (!fields.ok()) return;
  if (top && !wanted) {
    return fields.Fail(FieldError("top_logprobs", "top_logprobs goes with logprobs: true only"));
  }
  if (top && (*top < 0 || *top > SamplingParams::kLogprobsMax)) {
    return fields.Fail(FieldError("top_logprobs", "top_logprobs must be between 0 and {}, got {}",
                                  SamplingParams::kLogprobsMax, *top));
  }
  if (wanted) sampling.logprobs = top.value_or(0);
}

// ---- completions -------------------------------------------------------------------------------

bool IsTokenList(const Json& value) {
  return value.is_array() && !value.empty() && value.front().is_number();
}

absl::StatusOr<Prompt> ReadOnePrompt(const Json& value, const std::string& path) {
  if (value.is_string()) return Prompt(TextPrompt{value.get<std::string>()});
  if (!value.is_array()) {
    return FieldError(path, "{} must be a string or a list of token ids, got {}", path,
                      value.type_name());
  }
  if (value.empty()) return FieldError(path, "{} is empty; at least one token is needed", path);
  Json wrapped = Json::object();
  wrapped[path] = value;
  FieldReader fields(wrapped);
  TokenPrompt tokens;
  fields.Read(path, &tokens.ids);
  RETURN_IF_ERROR(fields.status());
  return Prompt(std::move(tokens));
}

// A string, a list of strings, a list of token ids, or a list of such lists.
absl::StatusOr<std::vector<Prompt>> ReadPrompts(FieldReader& fields) {
  RETURN_IF_ERROR(fields.status());
  const Json* value = fields.Find("prompt");
  if (value == nullptr) return FieldError("prompt", "prompt is missing");
  std::vector<Prompt> prompts;
  if (value->is_string() || IsTokenList(*value)) {
    ASSIGN_OR_RETURN(Prompt prompt, ReadOnePrompt(*value, "prompt"));
    prompts.push_back(std::move(prompt));
    return prompts;
  }
  if (!value->is_array()) {
    fields.FailType("prompt", "a string, a list of strings or a list of token ids", *value);
    return fields.status();
  }
  if (value->empty()) return FieldError("prompt", "prompt is empty; at least one is needed");
  if (value->size() > kPromptsMax) {
    return FieldError("prompt", "prompt has {} entries, at most {} are allowed", value->size(),
                      kPromptsMax);
  }
  for (size_t i = 0; i < value->size(); ++i) {
    ASSIGN_OR_RETURN(Prompt prompt, ReadOnePrompt((*value)[i], fmt::format("prompt[{}]", i)));
    prompts.push_back(std::move(prompt));
  }
  return prompts;
}

}  // namespace

absl::StatusOr<ApiCall> ParseChat(const Json& body) {
  FieldReader fields(body);
  ApiCall call{.endpoint = Endpoint::kChat};
  ClientRequest request;
  ReadCommon(fields, call, request);
  ReadMaxTokens(fields, /*least=*/1, request.sampling);
  ReadChatLogprobs(fields, request.sampling);
  RETURN_IF_ERROR(fields.status());
  RETURN_IF_ERROR(CheckRefused(fields, request.n));
  ASSIGN_OR_RETURN(request.prompt, ReadMessages(fields));
  call.requests.push_back(std::move(request));
  return call;
}

absl::StatusOr<ApiCall> ParseCompletion(const Json& body) {
  FieldReader fields(body);
  ApiCall call{.endpoint = Endpoint::kCompletion};
  ClientRequest request;
  ReadCommon(fields, call, request);
  fields.Read("echo", &request.echo);
  // With echo, an answer may consist of the prompt alone.
  ReadMaxTokens(fields, /*least=*/request.echo ? 0 : 1, request.sampling);
  fields.Read("logprobs", &request.sampling.logprobs);
  RETURN_IF_ERROR(fields.status());
  if (request.echo) request.sampling.prompt_logprobs = request.sampling.logprobs;
  if (!request.sampling.max_tokens) request.sampling.max_tokens = kCompletionTokensDefault;
  RETURN_IF_ERROR(CheckRefused(fields, request.n));
  ASSIGN_OR_RETURN(std::vector<Prompt> prompts, ReadPrompts(fields));
  for (Prompt& prompt : prompts) {
    call.requests.push_back(request);
    call.requests.back().prompt = std::move(prompt);
  }
  return call;
}

absl::StatusOr<TokenizeCall> ParseTokenize(const Json& body) {
  FieldReader fields(body);
  TokenizeCall call;
  fields.Read("model", &call.model);
  fields.Read("add_special_tokens", &call.add_special_tokens);
  RETURN_IF_ERROR(fields.status());
  if (fields.Find("messages") != nullptr) {
    ASSIGN_OR_RETURN(call.prompt, ReadMessages(fields));
    return call;
  }
  TextPrompt prompt;
  if (fields.Find("prompt") == nullptr) {
    return FieldError("prompt", "prompt is missing (or messages)");
  }
  fields.Read("prompt", &prompt.text);
  RETURN_IF_ERROR(fields.status());
  call.prompt = std::move(prompt);
  return call;
}

absl::StatusOr<DetokenizeCall> ParseDetokenize(const Json& body) {
  FieldReader fields(body);
  DetokenizeCall call;
  fields.Read("model", &call.model);
  fields.Read("skip_special_tokens", &call.skip_special_tokens);
  if (fields.ok() && fields.Find("tokens") == nullptr) {
    return FieldError("tokens", "tokens is missing");
  }
  fields.Read("tokens", &call.tokens);
  RETURN_IF_ERROR(fields.status());
  return call;
}

}  // namespace baton::router::openai
