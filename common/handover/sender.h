#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/synchronization/mutex.h"
#include "common/base/clock.h"
#include "common/engine/commands.h"
#include "common/engine/observer.h"
#include "common/handover/destination.h"

namespace baton::handover {

// A finished hand-over: every byte is visible at the destination.
struct SendResult {
  GeneratedToken first;
  // [block][layer], of BlockChecksummer, block order as in Destination; empty when off.
  std::vector<std::vector<uint64_t>> checksums;
  engine::SequenceTimes times;
  absl::Duration compute;  // from admission to the first token
  absl::Duration exposed;  // from then until the last put had completed
  uint64_t bytes = 0;
  // The wire, from Begin() on: when the first put began, when the last one had completed, and for
  // how long of the time between them any was under way.
  absl::Duration first_put;
  absl::Duration last_put;
  absl::Duration wire;
  int32_t puts = 0;  // PutAll calls
};

// The prefill worker's side. Puts each layer of each block as soon as the engine says it is final,
// and reports a hand-over only when no write of it is under way any more, be it complete or failed.
// Thread-safe; calls come from the engine, transfer and gRPC threads and none of them blocks.
class Sender {
 public:
  using Done = std::function<void(absl::StatusOr<SendResult>)>;
  using Post = std::function<void(engine::Command)>;

  // `pool` is this worker's own. `post` hands commands to the engine. All outlive the sender.
  Sender(bool checksums, const kernels::KvShares& pool, transfer::Transport& transport, Post post,
         const Clock& clock);

  // Before the engine is told (SubmitPrefill with the same id and epoch). `done` runs exactly once,
  // on some thread, and only then may the destination's blocks be reused.
  absl::Status Begin(SequenceId id, uint64_t epoch, Destination destination, Done done);
  // The engine refused the prompt: forgets the hand-over without running `done`.
  void Abandon(uint64_t epoch);
  // Stops putting; `done` follows with `why` once what is under way has completed.
  void Stop(uint64_t epoch, absl::Status why);

  // From engine::Observer.
  void OnKvReady(const engine::KvReady& ready);
  void OnPrefillDone(engine::PrefillDone done);

  int32_t active() const;

  struct Counters {
    uint64_t completed = 0;
    uint64_t failed = 0;  // cancelled ones included
  };
  Counters counters() const;

 private:
  struct Handover {
    SequenceId id;
    Destination destination;
    transfer::PeerHandle peer = 0;
    Done done;
    int32_t puts_under_way = 0;
    absl::Duration begun_at;
    absl::Duration busy_since;  // while puts are under way
    bool computed = false;      // the engine has said OnPrefillDone
    absl::Status failure;
    SendResult result;
    absl::Duration computed_at;
  };

  std::vector<transfer::Put> PiecesOf(Handover& handover, const engine::KvReady& ready) const;
  void NotePut(Handover& handover) const;
  void NotePutDone(Handover& handover) const;
  void OnPutDone(uint64_t epoch, absl::Status status);
  void FinishIfOver(uint64_t epoch);

  const bool checksums_;
  const kernels::KvShares pool_;
  const BlockChecksummer checksummer_;
  transfer::Transport& transport_;
  const Post post_;
  const Clock& clock_;
  mutable absl::Mutex mutex_;
  absl::flat_hash_map<uint64_t, std::unique_ptr<Handover>> handovers_ ABSL_GUARDED_BY(mutex_);
  Counters counters_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace baton::handover
