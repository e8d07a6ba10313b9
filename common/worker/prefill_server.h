#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <string_view>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "baton/v1/worker.pb.h"
#include "common/engine/observer.h"
#include "common/handover/sender.h"
#include "common/worker/epoch_book.h"
#include "common/worker/footing.h"

namespace baton::worker {

// What Prefill and Fence calls ask for, without the calls: the prompt is computed by this worker's
// engine, and its KV put where the caller wants it. A prefill worker's whole work; a decode worker
// serves from its cache what others go on with. Thread-safe; nothing blocks.
class PrefillServer {
 public:
  // On some thread, exactly once, when no write of the hand-over can land any more.
  using Done = std::function<void(absl::StatusOr<v1::PrefillFinished>)>;
  // The caller is to be told that its work gets on. From Tick(), never once Done has begun; must
  // neither block nor call back.
  using Alive = std::function<void()>;

  PrefillServer(Footing footing, bool checksums, const Clock& clock);

  // Computes a prompt and puts its KV where the request says. Returns the hand-over's name here, to
  // stop it by; `done` may run before that. On an error, `done` does not run and nothing is
  // written.
  absl::StatusOr<uint64_t> Begin(const v1::PrefillRequest& request, Done done,
                                 Alive alive = nullptr);
  // `done` follows, with CANCELLED unless all was over. Those that have ended are ignored.
  void Stop(uint64_t handover, std::string_view why);
  // Runs `over` once no write of the epoch can land any more, be it that it never began.
  void Fence(const v1::FenceRequest& request, std::function<void()> over);

  // Says Alive where a lease wants it. `now`: monotonic; every few tens of milliseconds.
  void Tick(absl::Duration now);
  // The engine hangs, or goes on: while it hangs nobody is told that it gets on.
  void SetStalled(bool stalled) { stalled_ = stalled; }

  // From engine::Observer.
  void OnKvReady(const engine::KvReady& ready) { sender_.OnKvReady(ready); }
  void OnPrefillDone(engine::PrefillDone done) { sender_.OnPrefillDone(std::move(done)); }

  handover::Sender::Counters counters() const { return sender_.counters(); }

 private:
  struct Lease {
    absl::Duration every;
    absl::Duration next;
    Alive alive;
  };
  absl::Status Check(const v1::PrefillRequest& request) const;
  absl::Status BeginAs(uint64_t handover, const v1::PrefillRequest& request,
                       handover::Destination destination, Done done);
  void EndLease(uint64_t handover);

  const Footing footing_;
  const Clock& clock_;
  EpochBook book_;
  std::atomic<uint64_t> last_handover_ = 0;
  std::atomic<bool> stalled_ = false;
  absl::Mutex mutex_;
  std::map<uint64_t, Lease> leases_ ABSL_GUARDED_BY(mutex_);  // by hand-over
  handover::Sender sender_;
};

}  // namespace baton::worker
