#pragma once

#include <cstddef>
#include <deque>
#include <optional>
#include <string_view>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "services/router/dispatch/flight_report.h"

namespace baton::router {

// The last requests that have ended: "why was this one slow" has an answer afterwards. Thread-safe.
class RequestLog {
 public:
  explicit RequestLog(size_t capacity) : capacity_(capacity) {}

  void Add(FlightReport report) ABSL_LOCKS_EXCLUDED(mutex_);
  // The latest that IsNamed() so; nothing when it was never here or so many have ended since.
  std::optional<FlightReport> Find(std::string_view request) const ABSL_LOCKS_EXCLUDED(mutex_);
  // Newest first, at most `limit`.
  std::vector<FlightReport> Recent(size_t limit) const ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  const size_t capacity_;
  mutable absl::Mutex mutex_;
  std::deque<FlightReport> reports_ ABSL_GUARDED_BY(mutex_);  // newest at the front
};

}  // namespace baton::router
