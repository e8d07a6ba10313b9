#pragma once

#include <cstdint>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace baton::engine {

// What one step did and how long its parts took.
struct StepRecord {
  int64_t number = 0;
  absl::Time start;        // wall
  absl::Duration plan;     // deciding
  absl::Duration copy;     // swap
  absl::Duration execute;  // the model, sampling included
  absl::Duration publish;  // telling everybody
  int32_t decodes = 0;     // sequences
  int32_t prefill_tokens = 0;
  int32_t prefill_sequences = 0;
  int64_t context_tokens = 0;
  int32_t preempted = 0;  // sequences
  int32_t waiting = 0;    // sequences, after the plan
  int32_t running = 0;
  int32_t blocks_allocatable = 0;
};

// The last steps, for people (/debug/timeline). Thread-safe.
class Timeline {
 public:
  static constexpr size_t kSteps = 1024;

  void Add(const StepRecord& record) ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    if (ring_.size() < kSteps) {
      ring_.push_back(record);
    } else {
      ring_[next_] = record;
    }
    next_ = (next_ + 1) % kSteps;
  }
  // Oldest first.
  std::vector<StepRecord> Snapshot() const ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    std::vector<StepRecord> steps;
    steps.reserve(ring_.size());
    const size_t first = ring_.size() < kSteps ? 0 : next_;
    for (size_t i = 0; i < ring_.size(); ++i) steps.push_back(ring_[(first + i) % ring_.size()]);
    return steps;
  }

 private:
  mutable absl::Mutex mutex_;
  std::vector<StepRecord> ring_ ABSL_GUARDED_BY(mutex_);
  size_t next_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace baton::engine
