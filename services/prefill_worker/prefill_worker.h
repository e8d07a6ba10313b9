#pragma once

#include <atomic>
#include <functional>
#include <string_view>

#include "baton/v1/worker.pb.h"
#include "common/engine/observer.h"
#include "common/handover/sender.h"
#include "common/worker/footing.h"
#include "common/worker/metrics.h"
#include "common/worker/router_links.h"
#include "services/prefill_worker/epoch_book.h"

namespace baton::prefill_worker {

// What a Prefill and a Fence call ask for, without the calls: connects them with the engine, the
// hand-over and the routers. Thread-safe; observer calls come on the engine thread. Nothing blocks.
class PrefillWorker : public engine::Observer {
 public:
  // On some thread, exactly once, when no write of the hand-over can land any more.
  using Done = std::function<void(absl::StatusOr<v1::PrefillFinished>)>;

  PrefillWorker(worker::Footing footing, bool checksums, const Clock& clock);

  void set_links(worker::RouterLinks* links) { links_ = links; }

  // Computes a prompt and puts its KV where the request says. Returns the hand-over's name here, to
  // stop it by; `done` may run before that. On an error, `done` does not run and nothing is
  // written.
  absl::StatusOr<uint64_t> Begin(const v1::PrefillRequest& request, Done done);
  // `done` follows, with CANCELLED unless all was over. Those that have ended are ignored.
  void Stop(uint64_t handover, std::string_view why);
  // Runs `over` once no write of the epoch can land any more, be it that it never began.
  void Fence(const v1::FenceRequest& request, std::function<void()> over);

  worker::HandoverCounters handover_counters() const;

  // engine::Observer
  void OnStep(std::vector<engine::SequenceOutput> outputs) override;
  void OnPrefillNeeded(engine::PrefillNeeded needed) override;
  void OnKvReady(engine::KvReady ready) override { sender_.OnKvReady(ready); }
  void OnPrefillDone(engine::PrefillDone done) override { sender_.OnPrefillDone(std::move(done)); }
  void OnKvEvents(engine::KvEvents events) override;
  void OnLoad(const engine::LoadReport& load) override;

 private:
  absl::Status Check(const v1::PrefillRequest& request) const;
  absl::Status BeginAs(uint64_t handover, const v1::PrefillRequest& request,
                       handover::Destination destination, Done done);

  const worker::Footing footing_;
  std::atomic<worker::RouterLinks*> links_ = nullptr;  // set after the engine started
  EpochBook book_;
  std::atomic<uint64_t> last_handover_ = 0;
  handover::Sender sender_;
};

}  // namespace baton::prefill_worker
