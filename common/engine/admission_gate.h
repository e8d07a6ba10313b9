#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_set.h"
#include "absl/synchronization/mutex.h"
#include "common/base/status.h"
#include "common/base/strong_id.h"
#include "common/engine/commands.h"

namespace baton::engine {

// Names one piece of work of an engine: a generation, or a prefill for somebody else (which a
// second attempt repeats under another epoch).
struct WorkKey {
  SequenceId id;
  bool prefill_only = false;
  uint64_t epoch = 0;
  friend auto operator<=>(const WorkKey&, const WorkKey&) = default;
  template <typename H>
  friend H AbslHashValue(H state, const WorkKey& key) {
    return H::combine(std::move(state), key.id, key.prefill_only, key.epoch);
  }
};

// The bound of the queue, kept where work is handed in: counts what was accepted and has not been
// admitted to the batch. Thread-safe.
class AdmissionGate {
 public:
  AdmissionGate(int32_t sequences_max, int64_t tokens_max)
      : sequences_max_(sequences_max), tokens_max_(tokens_max) {}

  // RESOURCE_EXHAUSTED when full, FAILED_PRECONDITION when closed, ALREADY_EXISTS when this very
  // work is going on. A prompt longer than the bound is let in when nothing else waits.
  absl::Status Enter(const WorkKey& key, int64_t prompt_tokens);
  // Waits no more.
  void LeaveQueue(int64_t prompt_tokens);
  // Is over, and so is everything that it held.
  void Leave(const WorkKey& key);

  void Close(Refuse what);
  bool empty() const;

 private:
  const int32_t sequences_max_;
  const int64_t tokens_max_;
  mutable absl::Mutex mutex_;
  std::optional<Refuse> refused_ ABSL_GUARDED_BY(mutex_);
  int32_t waiting_sequences_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t waiting_tokens_ ABSL_GUARDED_BY(mutex_) = 0;
  absl::flat_hash_set<WorkKey> live_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace baton::engine
