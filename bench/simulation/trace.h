#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "absl/time/time.h"
#include "services/cli/bench/trace_file.h"

namespace baton::simulation {

using cli::TraceRequest;

// Made up, from a seed: "chat" (sessions whose history grows, one system prompt), "agent" (few
// sessions, a long history of tools, short answers), "rag" (popular documents before a question),
// "write" (short prompts, long answers) and "batch" (nothing shared). In order of time.
std::vector<TraceRequest> MakeTrace(std::string_view shape, double requests_per_second,
                                    absl::Duration length, uint64_t seed);

}  // namespace baton::simulation
