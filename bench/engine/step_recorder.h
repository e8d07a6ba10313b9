#pragma once

#include <cstdint>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/base/clock.h"
#include "common/engine/observer.h"

namespace baton::bench {

// Notes when an engine told tokens of how many sequences. Any thread may read.
class StepRecorder : public engine::Observer {
 public:
  struct Step {
    absl::Duration at;  // monotonic
    int32_t sequences = 0;
  };

  explicit StepRecorder(const Clock& clock) : clock_(clock) {}

  void OnStep(std::vector<engine::SequenceOutput> outputs) override;
  void OnPrefillNeeded(engine::PrefillNeeded) override {}
  void OnKvReady(engine::KvReady) override {}
  void OnPrefillDone(engine::PrefillDone) override {}
  void OnKvEvents(engine::KvEvents) override {}
  void OnLoad(const engine::LoadReport&) override {}

  // Waits until `count` sequences have ended since the last call, and hands their steps over.
  std::vector<Step> TakeWhenEnded(int32_t count);

 private:
  const Clock& clock_;
  absl::Mutex mutex_;
  std::vector<Step> steps_ ABSL_GUARDED_BY(mutex_);
  int32_t ended_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace baton::bench
