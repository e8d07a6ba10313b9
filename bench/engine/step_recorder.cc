#include "bench/engine/step_recorder.h"

#include <utility>

namespace baton::bench {

void StepRecorder::OnStep(std::vector<engine::SequenceOutput> outputs) {
  Step step{.at = clock_.Monotonic()};
  int32_t ended = 0;
  for (const engine::SequenceOutput& output : outputs) {
    step.sequences += !output.tokens.empty();
    ended += output.finish != FinishReason::kNone;
  }
  absl::MutexLock lock(&mutex_);
  steps_.push_back(step);
  ended_ += ended;
}

std::vector<StepRecorder::Step> StepRecorder::TakeWhenEnded(int32_t count) {
  absl::MutexLock lock(&mutex_);
  const auto all_ended = [this, count]()
                             ABSL_SHARED_LOCKS_REQUIRED(mutex_) { return ended_ >= count; };
  mutex_.Await(absl::Condition(&all_ended));
  ended_ = 0;
  return std::exchange(steps_, {});
}

}  // namespace baton::bench
