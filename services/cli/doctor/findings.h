#pragma once

#include <string>
#include <vector>

#include "services/cli/doctor/cluster_picture.h"

namespace baton::cli {

// Something that is not as it should be.
struct Finding {
  std::string kind;     // for programs: "silent-worker", "fallback", …
  std::string subject;  // "decode-1@4f1c2a", "prefill-0@… -> decode-1@…"
  std::string what;     // what was seen
  std::string meaning;  // what it does to requests
  std::string advice;   // what to do
};

struct Thresholds {
  absl::Duration clock_skew = absl::Milliseconds(100);
  double round_trip_ms = 50;
  // Slower than that in its quickest round, a path holds up what it serves.
  double shared_memory_gbps = 1.0;
  double network_gbps = 0.1;
  // A path is slow beside others of its kind below this share of their median.
  double share_of_median = 0.4;
};

// All findings, the worst kinds first. Empty: all is well.
std::vector<Finding> FindingsOf(const ClusterPicture& picture, const std::string& own_version,
                                const Thresholds& thresholds);

}  // namespace baton::cli
