#pragma once

#include <map>
#include <set>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "common/engine/observer.h"

namespace baton::engine::testing {

// Keeps everything an engine tells. Thread-safe: the engine thread writes, a test waits and reads.
class RecordingObserver : public Observer {
 public:
  struct Told {
    std::vector<GeneratedToken> prompt;  // scored
    std::vector<GeneratedToken> tokens;
    bool prompt_after_tokens = false;  // must stay false
    FinishReason finish = FinishReason::kNone;
    absl::Status status;
    SequenceTimes times;
    int32_t outputs_after_finish = 0;  // must stay 0
  };

  void OnStep(std::vector<SequenceOutput> outputs) override;
  void OnPrefillNeeded(PrefillNeeded needed) override;
  void OnKvReady(KvReady ready) override;
  void OnPrefillDone(PrefillDone done) override;
  void OnKvEvents(KvEvents events) override;
  void OnLoad(const LoadReport& load) override;

  // Blocks until the sequence has ended. Fails the test's patience, not silently: false after 60 s.
  bool WaitForFinish(const SequenceId& id) const;
  bool WaitForTokens(const SequenceId& id, size_t count) const;
  bool WaitForPrefillNeeded(size_t count) const;
  bool WaitForPrefillDone(size_t count) const;

  Told told(const SequenceId& id) const;
  std::vector<PrefillNeeded> TakePrefillNeeded();
  std::vector<KvReady> TakeKvReady();
  std::vector<PrefillDone> TakePrefillDone();
  std::vector<KvEvents> kv_events() const;
  std::vector<LoadReport> loads() const;
  // The prefix cache as one who followed all events sees it. Fails a CHECK on a gap in their
  // numbers, on something stored twice or removed unstored.
  std::set<kv::BlockHash> ReplayKvEvents() const;

 private:
  mutable absl::Mutex mutex_;
  std::map<SequenceId, Told> told_ ABSL_GUARDED_BY(mutex_);
  std::vector<PrefillNeeded> needed_ ABSL_GUARDED_BY(mutex_);
  std::vector<KvReady> ready_ ABSL_GUARDED_BY(mutex_);
  std::vector<PrefillDone> done_ ABSL_GUARDED_BY(mutex_);
  std::vector<KvEvents> events_ ABSL_GUARDED_BY(mutex_);
  std::vector<LoadReport> loads_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace baton::engine::testing
