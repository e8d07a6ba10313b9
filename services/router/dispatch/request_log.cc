#include "services/router/dispatch/request_log.h"

#include <algorithm>

namespace baton::router {

void RequestLog::Add(FlightReport report) {
  absl::MutexLock lock(&mutex_);
  reports_.push_front(std::move(report));
  if (reports_.size() > capacity_) reports_.pop_back();
}

std::optional<FlightReport> RequestLog::Find(std::string_view request) const {
  absl::MutexLock lock(&mutex_);
  const auto found =
      std::find_if(reports_.begin(), reports_.end(),
                   [&](const FlightReport& report) { return IsNamed(report.request, request); });
  if (found == reports_.end()) return std::nullopt;
  return *found;
}

std::vector<FlightReport> RequestLog::Recent(size_t limit) const {
  absl::MutexLock lock(&mutex_);
  const size_t count = std::min(limit, reports_.size());
  return {reports_.begin(), reports_.begin() + static_cast<ptrdiff_t>(count)};
}

}  // namespace baton::router
