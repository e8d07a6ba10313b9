#include "services/router/placement/decision_log.h"

#include <algorithm>

namespace baton::router {

void DecisionLog::Add(Decision decision) {
  absl::MutexLock lock(&mutex_);
  decisions_.push_front(std::move(decision));
  if (decisions_.size() > capacity_) decisions_.pop_back();
}

std::vector<Decision> DecisionLog::Recent(size_t limit) const {
  absl::MutexLock lock(&mutex_);
  const size_t count = std::min(limit, decisions_.size());
  return {decisions_.begin(), decisions_.begin() + static_cast<ptrdiff_t>(count)};
}

}  // namespace baton::router
