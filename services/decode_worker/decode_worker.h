#pragma once

#include <atomic>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/container/btree_map.h"
#include "absl/container/flat_hash_map.h"
#include "absl/synchronization/mutex.h"
#include "baton/v1/worker.pb.h"
#include "common/base/check.h"
#include "common/engine/observer.h"
#include "common/handover/receiver.h"
#include "common/worker/footing.h"
#include "common/worker/metrics.h"
#include "common/worker/prefill_server.h"
#include "common/worker/router_links.h"
#include "services/decode_worker/router_session.h"

namespace baton::decode_worker {

// Connects the engine with the router sessions and the hand-over. Thread-safe; the observer calls
// come on the engine thread and only post.
class DecodeWorker : public engine::Observer {
 public:
  // `peers` outlives this.
  DecodeWorker(worker::Footing footing, handover::ReceiverOptions receiver,
               handover::PrefillPeers& peers, const Clock& clock);

  // Where load and KV events go; null: nowhere. Outlives the engine thread's use of it.
  void set_links(worker::RouterLinks* links) { links_ = links; }

  // Admits all sequences of a submission for `session`; those that are refused end there at once,
  // with the reason. Any thread.
  void Submit(RouterSession& session, const v1::SubmitSequences& submit);
  void Cancel(RouterSession& session, const v1::CancelSequence& cancel);
  // No hand-over waits for this prefill worker any more, whoever asked for it.
  void Leave(const v1::LeavePrefillWorker& leave) {
    receiver_.Leave(leave.worker_id(), leave.why());
  }
  // A router has come.
  void Attach(RouterSession& session) { ++sessions_; }
  // The session is going: its sequences are cancelled and it hears no more. Once for each Attach().
  void Detach(RouterSession& session);
  // Ends every session that waits for a sequence, with the reason. Any thread.
  void CutOff(const absl::Status& why);

  // Routers that may still want something of this worker.
  int sessions() const { return sessions_; }
  // Where Prefill and Fence calls go: other decode workers fetch from here what lies in this one's
  // cache.
  worker::PrefillServer& server() { return server_; }

  // Ends all hand-overs; before the engine goes.
  void Stop() { receiver_.Stop(); }
  // Upkeep of the hand-overs; `now` is monotonic. Every few tens of milliseconds, any thread.
  void Tick(absl::Duration now) {
    receiver_.Tick(now);
    server_.Tick(now);
  }
  worker::HandoverCounters handover_counters() const;

  // engine::Observer
  void OnStep(std::vector<engine::SequenceOutput> outputs) override;
  void OnPrefillNeeded(engine::PrefillNeeded needed) override;
  void OnKvReady(engine::KvReady ready) override { server_.OnKvReady(ready); }
  void OnPrefillDone(engine::PrefillDone done) override { server_.OnPrefillDone(std::move(done)); }
  void OnKvEvents(engine::KvEvents events) override;
  void OnLoad(const engine::LoadReport& load) override;

 private:
  absl::Status Admit(RouterSession& session, engine::Submit submit);
  absl::Status Check(const SequenceSpec& spec) const;
  // What is never refused: it is about work that was accepted.
  void PostAboutWork(engine::Command command) const { CHECK_OK(footing_.post(std::move(command))); }
  static v1::SequenceDelta DeltaOf(const engine::SequenceOutput& output);
  // How the sequence spent its time, and where its prompt's KV came from.
  void AddTimes(const engine::SequenceOutput& output, v1::SequenceDelta& delta);
  void Forget(const SequenceId& id) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const worker::Footing footing_;
  std::atomic<worker::RouterLinks*> links_ = nullptr;  // set after the engine started
  handover::Receiver receiver_;
  worker::PrefillServer server_;
  std::atomic<int> sessions_ = 0;
  absl::Mutex mutex_;
  struct Told {
    RouterSession* session = nullptr;  // null: nobody any more
    bool begun = false;                // its first token was told
  };
  absl::btree_map<SequenceId, Told> sequences_ ABSL_GUARDED_BY(mutex_);
  absl::flat_hash_map<RequestId, int32_t> choices_left_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace baton::decode_worker
