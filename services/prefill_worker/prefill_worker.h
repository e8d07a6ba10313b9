#pragma once

#include <atomic>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "common/engine/observer.h"
#include "common/handover/sender.h"
#include "common/worker/metrics.h"
#include "common/worker/router_links.h"
#include "common/worker/runtime.h"

namespace baton::prefill_worker {

// Connects the engine with the hand-over and the routers. Observer calls come on the engine thread.
class PrefillWorker : public engine::Observer {
 public:
  PrefillWorker(worker::Runtime& runtime, bool checksums, const Clock& clock);

  void set_links(worker::RouterLinks* links) { links_ = links; }
  worker::Runtime& runtime() { return runtime_; }
  handover::Sender& sender() { return sender_; }
  worker::HandoverCounters handover_counters() const;

  // engine::Observer
  void OnStep(std::vector<engine::SequenceOutput> outputs) override;
  void OnPrefillNeeded(engine::PrefillNeeded needed) override;
  void OnKvReady(engine::KvReady ready) override { sender_.OnKvReady(ready); }
  void OnPrefillDone(engine::PrefillDone done) override { sender_.OnPrefillDone(std::move(done)); }
  void OnKvEvents(engine::KvEvents events) override;
  void OnLoad(const engine::LoadReport& load) override;

 private:
  worker::Runtime& runtime_;
  std::atomic<worker::RouterLinks*> links_ = nullptr;  // set after the engine started
  handover::Sender sender_;
};

}  // namespace baton::prefill_worker
