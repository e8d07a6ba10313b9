#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/base/status.h"

namespace baton {

// How the tokens of one sequence are chosen and where it ends. The one definition: every surface
// (HTTP, gRPC, router to decode worker, decode to prefill worker) converts to and from this.
struct SamplingParams {
  // Limits a client can run into; named in error messages.
  static constexpr int kStopStringsMax = 16;
  static constexpr int kStopStringBytesMax = 1024;
  static constexpr int kStopTokensMax = 64;
  static constexpr int kLogprobsMax = 20;
  static constexpr int kLogitBiasMax = 1024;

  float temperature = 1.0f;                           // [0, 2]; 0 = greedy
  int32_t top_k = 0;                                  // >= 0; 0 = off
  float top_p = 1.0f;                                 // (0, 1]
  float min_p = 0.0f;                                 // [0, 1]
  float repetition_penalty = 1.0f;                    // (0, 10]; 1 = off
  float presence_penalty = 0.0f;                      // [-2, 2]
  float frequency_penalty = 0.0f;                     // [-2, 2]
  std::vector<std::pair<int32_t, float>> logit_bias;  // (token, bias in [-100, 100])
  // Always set once a request is accepted: the router draws one when the client gave none, so that
  // a retried or migrated sequence draws the same tokens. Choice i of n uses seed + i.
  std::optional<uint64_t> seed;
  std::optional<int32_t>
      logprobs;  // absent: none; 0: the chosen token's; k <= 20: also the k likeliest
  // The same for the prompt's tokens, each given the ones before it: for scoring texts.
  std::optional<int32_t> prompt_logprobs;
  // Output tokens at most; absent: to the end of the context. 0: the prompt is computed, and
  // nothing is generated.
  std::optional<int32_t> max_tokens;
  int32_t min_tokens = 0;                 // stop ids are banned before this many output tokens
  bool ignore_eos = false;                // the model's end-of-sequence ids do not stop it
  std::vector<int32_t> stop_token_ids;    // besides the model's own
  std::vector<std::string> stop_strings;  // matched by the router, on text
  bool include_stop_in_output = false;

  // INVALID_ARGUMENT naming the field (as the HTTP API calls it), its value and its range.
  // `vocab` bounds token ids.
  absl::Status Validate(int32_t vocab) const;
};

}  // namespace baton
