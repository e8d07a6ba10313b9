#pragma once

#include <cstdint>
#include <random>
#include <vector>

#include "absl/time/time.h"
#include "services/cli/bench/bench_options.h"
#include "services/cli/bench/trace_file.h"

namespace baton::cli {

struct PlannedRequest {
  absl::Duration arrival;       // since the start of the load; open loop only
  std::vector<int32_t> prompt;  // token ids
  int32_t output_tokens = 0;
  uint64_t seed = 0;  // of its sampling
};

// The load, request by request, a function of the options' seed alone. Not thread-safe.
class Workload {
 public:
  struct Limits {
    int32_t vocab = 0;
    int32_t context_tokens = 0;
  };
  // `corpus` are the tokens that prompts are cut from; empty: random ids. `trace`: the requests,
  // each of which fits the limits (FitsLimits); empty: drawn as the options say.
  Workload(const BenchOptions& options, Limits limits, std::vector<int32_t> corpus,
           std::vector<TraceRequest> trace = {});
  // INVALID_ARGUMENT names the first request that does not.
  static absl::Status FitsLimits(const std::vector<TraceRequest>& trace, const Limits& limits);

  // Of a trace: only as often as it has requests.
  PlannedRequest Next();

 private:
  PlannedRequest NextOfTrace();
  std::vector<int32_t> DrawTokens(int32_t count);
  // The first ids are bytes and special tokens in most vocabularies: left out where there are
  // enough.
  TokenRange tokens() const;

  const BenchOptions& options_;
  const Limits limits_;
  const std::vector<int32_t> corpus_;
  const std::vector<TraceRequest> trace_;
  size_t next_of_trace_ = 0;
  std::mt19937_64 random_;
  std::vector<int32_t> shared_prefix_;
  absl::Duration clock_;
};

}  // namespace baton::cli
