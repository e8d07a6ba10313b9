#pragma once

#include <string>
#include <vector>

#include "absl/time/time.h"

namespace baton::bench {

// Requests that come at their own times, whatever became of those before.
struct LoadOptions {
  std::string address;  // of the router's HTTP door
  double per_second = 10;
  absl::Duration duration = absl::Seconds(10);
  int threads = 64;  // so many can be under way
  int max_tokens = 20;
  int prompt_characters = 200;
  double urgent_share = 0;  // of the requests, with priority -1
  uint32_t seed = 1;
};

// Times from when a request was due, not from when a client got round to it.
struct LoadResult {
  std::vector<absl::Duration> ttft;         // of those that were served, but for
  std::vector<absl::Duration> urgent_ttft;  // the urgent ones
  std::vector<absl::Duration> total;        // likewise
  std::vector<absl::Duration> refusal;      // at the door, 429 and 503: to the whole answer
  std::vector<absl::Duration> displaced;    // 503 after a wait, for a more urgent one
  int without_retry_after = 0;              // of these
  int failed = 0;                           // anything else
  absl::Duration late_most;                 // by which a client was late: the driver's own limit
};

LoadResult Drive(const LoadOptions& options);

// Of at least one; `q` in [0, 1].
absl::Duration Quantile(std::vector<absl::Duration> times, double q);

}  // namespace baton::bench
