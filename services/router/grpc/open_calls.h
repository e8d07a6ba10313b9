#pragma once

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace baton::router {

// How many calls have not yet been told how they ended. Thread-safe.
class OpenCalls {
 public:
  void Begin() {
    absl::MutexLock lock(&mutex_);
    ++open_;
  }
  void End() {
    absl::MutexLock lock(&mutex_);
    --open_;
  }
  // False when some are still open after `patience`.
  bool AwaitNone(absl::Duration patience) {
    absl::MutexLock lock(&mutex_);
    const auto none = [this]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) { return open_ == 0; };
    return mutex_.AwaitWithTimeout(absl::Condition(&none), patience);
  }

 private:
  absl::Mutex mutex_;
  int open_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace baton::router
