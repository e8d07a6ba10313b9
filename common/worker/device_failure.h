#pragma once

#include <functional>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace baton::worker {

// The end of a worker whose GPU does not work any more: after a sticky CUDA error nothing on the
// device can be trusted, and a new process is cheap. Says so, lets others know, and ends the
// process; what ran here goes on elsewhere, as after any death of a worker. Any thread.
class DeviceFailure {
 public:
  // Called by End() on the failing thread, while the rest of the process still runs: marks the
  // worker unhealthy. Null: nobody is to be told (any more).
  void set_tell(std::function<void()> tell);

  [[noreturn]] void End(const std::string& what);

 private:
  absl::Mutex mutex_;
  std::function<void()> tell_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace baton::worker
