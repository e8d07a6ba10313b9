#pragma once

#include <cstddef>
#include <deque>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "services/router/placement/policy.h"

namespace baton::router {

// The last decisions with their inputs: "why did this request go there" always has an answer.
// Thread-safe.
class DecisionLog {
 public:
  explicit DecisionLog(size_t capacity = 256) : capacity_(capacity) {}

  void Add(Decision decision) ABSL_LOCKS_EXCLUDED(mutex_);
  // Newest first, at most `limit`.
  std::vector<Decision> Recent(size_t limit) const ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  const size_t capacity_;
  mutable absl::Mutex mutex_;
  std::deque<Decision> decisions_ ABSL_GUARDED_BY(mutex_);  // newest at the front
};

}  // namespace baton::router
