#pragma once

#include <cstdint>
#include <optional>

#include "absl/time/time.h"
#include "common/base/clock.h"

namespace baton::worker {

// When a load of weights is worth a line: once it has taken a second, at each tenth, and when five
// seconds have passed since the last one. One thread.
class LoadReport {
 public:
  explicit LoadReport(const Clock& clock) : clock_(clock), began_(clock.Monotonic()) {}

  struct Line {
    int percent = 0;
    int64_t done_bytes = 0;
    int64_t total_bytes = 0;
    double gigabytes_per_second = 0;  // since the load began
  };
  // So many of `total_bytes` have been read.
  std::optional<Line> After(int64_t done_bytes, int64_t total_bytes);

 private:
  const Clock& clock_;
  const absl::Duration began_;
  absl::Duration last_ = absl::ZeroDuration();  // of the last line
  int tenth_ = -1;                              // of the last line
};

}  // namespace baton::worker
