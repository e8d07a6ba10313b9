#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/synchronization/mutex.h"
#include "common/base/clock.h"
#include "common/engine/commands.h"
#include "common/engine/observer.h"
#include "common/handover/attempt.h"
#include "common/handover/destination.h"
#include "common/handover/fencer.h"
#include "common/handover/prefill_peers.h"

namespace baton::handover {

struct ReceiverOptions {
  std::string caller;                                 // this worker's id
  std::string fingerprint;                            // what the prefill worker must have, too
  v1::KvRegion region;                                // this worker's pool, as peers name it
  bool checksums = true;                              // verify every block before it is read
  absl::Duration attempt_timeout = absl::Minutes(2);  // for one prefill worker to deliver
  absl::Duration lease = absl::Seconds(1);  // for it to be silent; longer, and it is given up
};

// How a sequence's KV came here, for the client's usage and the router's cost model.
struct Delivery {
  std::string prefill_worker;  // empty: it was computed here
  uint64_t bytes = 0;
  absl::Duration exposed;
  v1::HandoverTimes times;
};

// The decode worker's side. For every PrefillNeeded of the engine it asks the prefill workers named
// with the request, best first, and posts KvArrived, or KvFailed when none delivered. A next worker
// is asked only when no write of the one before can land any more (one whose bytes came wrong is
// asked again first); else the engine goes on by
// itself at once and the old blocks stay quarantined until the fencer says so. Thread-safe; nothing
// but Stop() blocks.
class Receiver : private AttemptListener {
 public:
  using Post = std::function<void(engine::Command)>;

  // `pool` is this worker's own. All arguments outlive the receiver.
  Receiver(ReceiverOptions options, const kernels::KvShares& pool, transfer::Transport& transport,
           PrefillPeers& peers, Post post, const Clock& clock);
  ~Receiver() override;

  // Upkeep: gives up what is silent for too long, asks again what is in doubt. `now`: monotonic;
  // every few tens of milliseconds.
  void Tick(absl::Duration now);

  // Ends all calls and waits for them: nothing is posted afterwards. Before the engine goes.
  void Stop();

  const ReceiverOptions& options() const { return options_; }

  // Before Submit: whom to ask for this request's prompt.
  void SetTargets(const RequestId& request, std::vector<v1::PrefillTarget> targets);
  // From engine::Observer.
  void OnPrefillNeeded(engine::PrefillNeeded needed);
  // The sequence has ended, in whatever way: what is still under way for it is stopped.
  void OnSequenceEnded(const SequenceId& id);
  // The request has ended: its targets are forgotten.
  void ForgetRequest(const RequestId& request);

  // This worker is not to be waited for any more: what it has not delivered is stopped, by it, or
  // by force when it has not answered after a lease, and others are asked.
  void Leave(const std::string& prefill_worker, const std::string& why);

  // Prefill workers that were asked for this sequence's prompt and did not deliver, in order, with
  // the reason; each is told once.
  struct Failure {
    std::string prefill_worker;
    absl::Status status;
  };
  std::vector<Failure> TakeFailures(const SequenceId& id);
  // Empty for sequences that were prefilled here.
  Delivery DeliveryOf(const SequenceId& id) const;

  struct Counters {
    uint64_t bytes = 0;
    double seconds = 0;  // with a hand-over under way, summed over hand-overs
    uint64_t completed = 0;
    uint64_t failed = 0;  // attempts
    uint64_t checksum_mismatches = 0;
    uint64_t events = 0;  // that prefill workers have sent
  };
  Counters counters() const;
  int32_t active() const;

 private:
  struct Pending {
    engine::PrefillNeeded needed;
    std::vector<v1::PrefillTarget> targets;
    size_t next_target = 0;
    uint64_t wire_epoch = 0;           // of the attempt
    std::shared_ptr<Attempt> attempt;  // null between two
    std::unique_ptr<v1::PrefillFinished> finished;
    absl::Duration began;
    absl::Duration asked;  // when the attempt was started
    absl::Duration heard;  // of the attempt: when it was started, or said something
    bool silent = false;   // for longer than its lease: it has been aborted
    bool aborted = false;
    std::optional<absl::Status> left;  // we do not wait for it any more, and why
    absl::Duration left_at;
    bool refetched = false;  // wrong bytes came, and were asked for once more
    bool ended = false;      // the sequence is gone: only fencing matters
  };

  void StartNext(uint64_t epoch);
  v1::PrefillRequest RequestFor(const Pending& pending, uint64_t wire_epoch) const;
  absl::Status Verify(const engine::PrefillNeeded& needed,
                      const v1::PrefillFinished& finished) const;
  bool IsAsSent(BlockId block, int32_t layer, uint64_t checksum) const;
  void OnAttemptEvent(const AttemptId& id, v1::PrefillEvent event) override;
  void OnAttemptOver(const AttemptId& id, absl::Status status, bool fenced) override;
  void Settle(const AttemptId& id, absl::Status status, bool fenced);
  // `told_at`: when `finished` had come.
  void Deliver(uint64_t epoch, absl::Duration told_at, v1::PrefillFinished finished);
  Delivery DeliveryFrom(const Pending& pending, absl::Duration told_at,
                        v1::PrefillFinished finished) const;
  void GiveUp(uint64_t epoch, absl::Status why, bool fenced);

  const ReceiverOptions options_;
  const kernels::KvShares pool_;
  const BlockChecksummer checksummer_;
  transfer::Transport& transport_;
  PrefillPeers& peers_;
  const Post post_;
  const Clock& clock_;
  Fencer fencer_;
  mutable absl::Mutex mutex_;
  uint64_t last_wire_epoch_ ABSL_GUARDED_BY(mutex_) = 0;
  // By the engine's epoch; a Pending stays where it is until its attempt is over.
  std::map<uint64_t, Pending> pending_ ABSL_GUARDED_BY(mutex_);
  int32_t callbacks_ ABSL_GUARDED_BY(mutex_) = 0;  // attempts' ends being worked off right now
  absl::flat_hash_map<RequestId, std::vector<v1::PrefillTarget>> targets_ ABSL_GUARDED_BY(mutex_);
  absl::flat_hash_map<SequenceId, Delivery> deliveries_ ABSL_GUARDED_BY(mutex_);
  absl::flat_hash_map<SequenceId, std::vector<Failure>> failures_ ABSL_GUARDED_BY(mutex_);
  Counters counters_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace baton::handover
