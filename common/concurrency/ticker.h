#pragma once

#include <functional>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace baton {

// Calls a function again and again, on a thread of its own.
class Ticker {
 public:
  // `every`: the pause between two calls. What `tick` uses outlives the ticker.
  Ticker(absl::Duration every, std::function<void()> tick);
  // Stops.
  ~Ticker();
  // Joins the thread, once the call under way has returned: no call comes after.
  void Stop();

 private:
  void Run();

  const absl::Duration every_;
  const std::function<void()> tick_;
  absl::Mutex mutex_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;  // last: it uses all of the above
};

}  // namespace baton
