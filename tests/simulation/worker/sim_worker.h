#pragma once

#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "common/engine/testing/chain_runner.h"
#include "common/worker/router_link.h"
#include "services/decode_worker/decode_worker.h"
#include "services/prefill_worker/prefill_worker.h"
#include "tests/simulation/worker/sim_decode_stream.h"
#include "tests/simulation/worker/sim_engine.h"
#include "tests/simulation/worker/sim_prefill_peers.h"
#include "tests/simulation/worker/sim_report_stream.h"
#include "tests/simulation/worker/sim_transport.h"

namespace baton::simulation {

// What is the same for all workers of a cluster.
struct WorkerPlan {
  engine::testing::ChainModelOptions model;
  engine::EngineOptions engine;
  std::vector<std::string> routers;  // addresses
  Mutations mutations;
};

// A place where things happen that must not: says what, and the simulation ends.
using Alarm = std::function<void(const std::string& what)>;

// One life of one worker process: the product's engine core, hand-over and service logic on a
// simulated machine. Dies by being destroyed, after its process was killed.
class SimWorker : public WorkerListener, private engine::Observer {
 public:
  SimWorker(bool decode, const WorkerPlan& plan, Network& network, MemoryBus& bus,
            std::shared_ptr<Process> process, Alarm alarm);
  ~SimWorker() override;

  bool decode() const { return decode_; }
  const WorkerId& id() const { return id_; }
  SimEngine& engine() { return *engine_; }
  const SimEngine& engine() const { return *engine_; }
  SimTransport& transport() { return transport_; }
  WriteLedger& ledger() { return *ledger_; }
  std::set<std::shared_ptr<void>>& sessions() override { return sessions_; }
  int64_t process_id() const override { return transport_.process_id(); }
  const std::shared_ptr<Process>& process() const override { return process_; }
  decode_worker::DecodeWorker& decode_worker() override { return *decode_worker_; }
  worker::PrefillServer& prefill_server() override;

  // SIGTERM: takes nothing new, and leaves when nobody needs it.
  void Drain();
  bool gone() const { return draining_ && engine_->idle() && Callers() == 0; }
  bool draining() const { return draining_; }
  worker::HandoverCounters handovers() const;
  // A sequence of this request is in the engine.
  bool Runs(const RequestId& request) const;
  // Nothing goes on here, and every block is free or cached: empty, or what is not so.
  std::string CheckIdle();

 private:
  absl::Status PostToEngine(engine::Command command);
  void Tick();
  void TickEvery(absl::Duration period);
  int Callers() const { return decode_worker_ ? decode_worker_->sessions() : 0; }
  v1::Registration Describe() const;
  void AfterStep(const std::vector<engine::Command>& handled);
  void NoteCommand(const engine::Command& command);

  void OnStep(std::vector<engine::SequenceOutput> outputs) override;
  void OnPrefillNeeded(engine::PrefillNeeded needed) override;
  void OnKvReady(engine::KvReady ready) override { observer().OnKvReady(std::move(ready)); }
  void OnPrefillDone(engine::PrefillDone done) override {
    observer().OnPrefillDone(std::move(done));
  }
  void OnKvEvents(engine::KvEvents events) override;
  void OnLoad(const engine::LoadReport& load) override;
  engine::Observer& observer();

  const bool decode_;
  const WorkerPlan& plan_;
  const std::shared_ptr<Process> process_;
  const Alarm alarm_;
  const WorkerId id_;
  const std::shared_ptr<WriteLedger> ledger_ = std::make_shared<WriteLedger>();
  engine::testing::ChainRunner runner_;
  SimTransport transport_;
  transfer::Region region_;
  kernels::KvView pool_;
  SimPrefillPeers peers_;
  std::unique_ptr<SimEngine> engine_;
  std::unique_ptr<decode_worker::DecodeWorker> decode_worker_;
  std::unique_ptr<prefill_worker::PrefillWorker> prefill_worker_;
  std::set<std::shared_ptr<void>> sessions_;
  std::vector<std::unique_ptr<worker::RouterLink>> links_;
  std::set<SequenceId> live_;  // what the engine has and has not ended
  bool draining_ = false;
  bool stalled_ = false;
};

}  // namespace baton::simulation
