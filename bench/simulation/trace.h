#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/time/time.h"
#include "common/base/status.h"

namespace baton::simulation {

// One request of a trace. Prompts are given as chunks with names: equal beginnings of the list are
// equal beginnings of the prompt.
struct TraceRequest {
  absl::Duration at;
  std::vector<uint64_t> chunks;
  int32_t chunk_tokens = 512;
  int32_t prompt_tokens = 0;
  int32_t output_tokens = 0;
  std::string user;  // the session
};

// Made up, from a seed: "chat" (sessions whose history grows, one system prompt), "agent" (few
// sessions, a long history of tools, short answers), "rag" (popular documents before a question)
// and "batch" (nothing shared). In order of time.
std::vector<TraceRequest> MakeTrace(std::string_view shape, double requests_per_second,
                                    absl::Duration length, uint64_t seed);

// A file in the form Mooncake's traces are published in: a line of JSON per request with timestamp
// (ms), input_length, output_length and hash_ids, each of which names 512 tokens.
absl::StatusOr<std::vector<TraceRequest>> ReadMooncake(const std::string& path);

// The tokens of a prompt: the same for the same chunks.
std::vector<int32_t> PromptOf(const TraceRequest& request);

}  // namespace baton::simulation
