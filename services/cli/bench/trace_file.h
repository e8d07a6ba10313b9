#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "common/base/status.h"

namespace baton::cli {

// One request of a recorded load. Prompts are given as chunks with names: equal beginnings of the
// list are equal beginnings of the prompt.
struct TraceRequest {
  absl::Duration at;
  std::vector<uint64_t> chunks;  // as many as cover the prompt
  int32_t chunk_tokens = 512;
  int32_t prompt_tokens = 0;
  int32_t output_tokens = 0;
  std::string user;  // the session
};

// A file in the form Mooncake's traces are published in: a line of JSON per request with timestamp
// (ms), input_length, output_length and hash_ids, each of which names 512 tokens. Prompt tokens
// that no hash_id names are the request's own. In order of time. INVALID_ARGUMENT names the line.
absl::StatusOr<std::vector<TraceRequest>> ReadTrace(const std::string& path);

// Token ids that prompts are made of: `count` of them, at least one, from `first` on.
struct TokenRange {
  int32_t first = 0;
  int32_t count = 250;
};

// The tokens of a prompt: the same for the same chunks.
std::vector<int32_t> PromptOf(const TraceRequest& request, const TokenRange& range);

}  // namespace baton::cli
