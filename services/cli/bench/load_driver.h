#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "baton/client.h"
#include "services/cli/bench/bench_options.h"
#include "services/cli/bench/workload.h"

namespace baton::cli {

// What came of one request. Times count from its scheduled arrival (open loop) or its sending
// (closed loop), so that a load generator that falls behind cannot hide what its requests would
// have waited.
struct Outcome {
  bool ok = false;
  bool counted = true;  // not of the warm-up
  std::string error;    // its code's name; "dropped" when never sent
  std::string error_message;
  absl::Duration begun;  // since the start of the load
  absl::Duration late;   // from scheduled arrival to sending
  absl::Duration ttft;
  absl::Duration e2e;
  std::vector<absl::Duration>
      gaps;  // between tokens; a step that brings several shares its time out
  int32_t prompt_tokens = 0;
  int32_t cached_tokens = 0;
  int32_t output_tokens = 0;
  bool remote_prefill = false;

  // Mean time per output token after the first.
  absl::Duration tpot() const {
    return output_tokens > 1 ? (e2e - ttft) / (output_tokens - 1) : absl::ZeroDuration();
  }
};

struct LoadResult {
  std::vector<Outcome> outcomes;
  absl::Duration measured;  // from the end of the warm-up to the last end of a request
};

// Sends the whole load and waits for its end. `progress` is called about once per second with the
// number of requests sent and ended; `stop` ends the sending early.
LoadResult RunLoad(const BenchOptions& options, sdk::Client& client, Workload& workload,
                   const std::function<void(int sent, int ended)>& progress,
                   const std::function<bool()>& stop);

}  // namespace baton::cli
