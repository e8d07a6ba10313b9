#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/time/time.h"
#include "common/base/strong_id.h"
#include "common/request/sampling_params.h"
#include "common/text/chat_template.h"
#include "services/router/telemetry/request_trace.h"

namespace baton::router {

// A conversation as the OpenAI API writes it; rendered by the model's chat template.
struct ChatPrompt {
  text::ChatTemplate::Json messages = text::ChatTemplate::Json::array();  // [{role, content}, …]
  bool add_generation_prompt = true;
  text::ChatTemplate::Json extra = text::ChatTemplate::Json::object();  // template variables
};
// Tokenized as it is, with the tokenizer's special tokens.
struct TextPrompt {
  std::string text;
};
// Used as it is.
struct TokenPrompt {
  std::vector<int32_t> ids;
};
using Prompt = std::variant<TextPrompt, TokenPrompt, ChatPrompt>;

// What a client asked for, whichever door it came through: well-formed, but not validated yet.
struct ClientRequest {
  std::string request_id;  // of the client's choice (X-Request-Id); empty: drawn
  std::string model;       // empty: the only one served
  Prompt prompt;
  SamplingParams sampling;
  int32_t n = 1;
  bool echo = false;     // the prompt's text before the output; not with chat
  int32_t priority = 0;  // [-100, 100]
  std::string user;      // at most 256 bytes; for logs
  std::string tenant;    // whose share it uses, in its own words; who is not known has the default
  absl::Duration timeout = absl::InfiniteDuration();  // for the whole request
  std::string traceparent;                            // W3C trace context; may be empty
  std::string tracestate;                             // with it; may be empty
};

class ServedModel;

// A request the router has taken on: valid, tokenized, everything resolved.
struct AcceptedRequest {
  RequestId id;
  const ServedModel* model = nullptr;  // outlives the request
  std::vector<int32_t> prompt;
  // The prompt's text comes in front of every choice: as a whole at the start, or, with
  // prompt_logprobs, token by token as these come.
  bool echo = false;
  bool continues_text = false;  // the output goes on where the prompt's text ends (not a chat)
  SamplingParams sampling;      // max_tokens and seed set
  int32_t n = 1;
  int32_t priority = 0;
  std::string user;
  std::string tenant;
  absl::Duration deadline = absl::InfiniteDuration();  // monotonic, as accepted_at
  absl::Duration accepted_at;
  absl::Duration tokenized_at;
  // As workers are told it: the client's, or, with tracing, of the router's own span.
  std::string traceparent;
  std::optional<RequestTrace> trace;  // with tracing

  // Values in the answer that the prompt's log-probabilities make, all choices.
  int64_t prompt_logprob_values() const {
    if (!sampling.prompt_logprobs) return 0;
    return static_cast<int64_t>(prompt.size()) * (1 + *sampling.prompt_logprobs) * n;
  }
};

}  // namespace baton::router
