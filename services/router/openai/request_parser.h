#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "services/router/intake/client_request.h"
#include "services/router/openai/json_body.h"

namespace baton::router::openai {

enum class Endpoint { kChat, kCompletion };

// A call of /v1/chat/completions or /v1/completions: one request per prompt, and how the answer is
// to look.
struct ApiCall {
  Endpoint endpoint = Endpoint::kChat;
  std::vector<ClientRequest> requests;  // chat: one
  bool stream = false;
  bool include_usage = false;  // stream_options.include_usage
  bool return_token_ids = false;
};

// INVALID_ARGUMENT carries the field's path (FieldOf). Fields that Baton does not know are ignored;
// those it knows, cannot do yet, and that would change the answer are refused by name.
absl::StatusOr<ApiCall> ParseChat(const Json& body);
absl::StatusOr<ApiCall> ParseCompletion(const Json& body);

// POST /tokenize: {"model", "prompt" or "messages", "add_special_tokens", "add_generation_prompt"}.
struct TokenizeCall {
  std::string model;
  Prompt prompt;
  bool add_special_tokens = true;
};
absl::StatusOr<TokenizeCall> ParseTokenize(const Json& body);

// POST /detokenize: {"model", "tokens", "skip_special_tokens"}.
struct DetokenizeCall {
  std::string model;
  std::vector<int32_t> tokens;
  bool skip_special_tokens = false;
};
absl::StatusOr<DetokenizeCall> ParseDetokenize(const Json& body);

}  // namespace baton::router::openai
