#pragma once

#include <functional>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/base/clock.h"
#include "common/engine/engine.h"

namespace baton::worker {

// The longest that a step of this engine may take before it counts as stuck: ten times what its own
// measurements give the largest step it can be asked for, and at least `least`. An engine that has
// not measured itself yet gets a minute: first steps fault the weights in.
absl::Duration StallPatience(const engine::EngineOptions& options, const engine::StepFit& fit,
                             absl::Duration least);

// Looks whether an engine makes progress. A worker whose heartbeat goes on while its engine hangs
// in a step is the failure that nobody notices from outside; this tells it. An engine that has had
// nothing to do for a while is given a canary, one token long, so that what would hang is known
// before a request finds it. One thread of its own.
class StallWatch {
 public:
  struct Options {
    absl::Duration every = absl::Milliseconds(200);
    absl::Duration least = absl::Seconds(5);
    absl::Duration canary_every = absl::Seconds(10);  // while idle
  };
  // `on_change` is called on the watch's thread when the engine has begun to hang (true), and when
  // it goes on after all (false). The engine outlives this.
  StallWatch(const Options& options, const engine::EngineOptions& engine_options,
             engine::Engine& engine, std::function<void(bool stalled)> on_change);
  // Joins: no call comes after.
  ~StallWatch();

 private:
  void Run();
  void Look();
  void SendCanaryWhenIdle();

  const Options options_;
  const engine::EngineOptions engine_options_;
  engine::Engine& engine_;
  const std::function<void(bool)> on_change_;
  // The thread's.
  bool stalled_ = false;
  absl::Duration idle_for_;
  int64_t steps_seen_ = 0;
  uint64_t canaries_ = 0;
  absl::Mutex mutex_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;  // last: it uses all of the above
};

}  // namespace baton::worker
