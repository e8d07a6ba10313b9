#pragma once

#include <atomic>

#include "common/engine/observer.h"
#include "common/worker/footing.h"
#include "common/worker/metrics.h"
#include "common/worker/prefill_server.h"
#include "common/worker/router_links.h"

namespace baton::prefill_worker {

// Connects the engine with the prefill server and the routers. Thread-safe; observer calls come on
// the engine thread. Nothing blocks.
class PrefillWorker : public engine::Observer {
 public:
  PrefillWorker(worker::Footing footing, bool checksums, const Clock& clock)
      : transport_(*footing.transport), server_(std::move(footing), checksums, clock) {}

  void set_links(worker::RouterLinks* links) { links_ = links; }
  // Where Prefill and Fence calls go.
  worker::PrefillServer& server() { return server_; }
  worker::HandoverCounters handover_counters() const;

  // engine::Observer
  void OnStep(std::vector<engine::SequenceOutput> outputs) override;
  void OnPrefillNeeded(engine::PrefillNeeded needed) override;
  void OnKvReady(engine::KvReady ready) override { server_.OnKvReady(ready); }
  void OnPrefillDone(engine::PrefillDone done) override { server_.OnPrefillDone(std::move(done)); }
  void OnKvEvents(engine::KvEvents events) override;
  void OnLoad(const engine::LoadReport& load) override;

 private:
  const transfer::Transport& transport_;
  std::atomic<worker::RouterLinks*> links_ = nullptr;  // set after the engine started
  worker::PrefillServer server_;
};

}  // namespace baton::prefill_worker
