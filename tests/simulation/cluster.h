#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tests/simulation/client/sim_client.h"
#include "tests/simulation/fault/fault_plan.h"
#include "tests/simulation/router/sim_router.h"
#include "tests/simulation/worker/sim_worker.h"

namespace baton::simulation {

struct ClusterOptions {
  const FaultProfile* profile = nullptr;  // null: the seed chooses
  Mutations mutations;
};

struct Outcome {
  std::string wrong;  // empty: every promise was kept
  std::string_view profile;
  uint64_t trace = 0;
  int64_t events = 0;
  absl::Duration simulated;
  int completed = 0;
  int failed = 0;
  int cancelled = 0;
  int lost = 0;            // with their router
  int64_t placements = 0;  // a request that goes on elsewhere has several
  int64_t handovers = 0;
  int64_t handovers_failed = 0;
  int64_t mismatches = 0;
  int64_t late_pieces = 0;    // that landed in quarantined blocks
  int64_t late_replaced = 0;  // of these, in blocks that a spare already stood in for
  int64_t preemptions = 0;
};

// Routers, workers, clients, a network and its faults, all from one seed.
class Cluster {
 public:
  Cluster(uint64_t seed, const ClusterOptions& options);
  ~Cluster();
  Outcome Run();

 private:
  struct Seat {  // of a process: its name stays, its lives change
    std::string name;
    int life = 0;
    bool stopped = false;
  };
  struct WorkerSeat : Seat {
    bool decode = false;
    std::unique_ptr<SimWorker> worker;
  };
  struct RouterSeat : Seat {
    std::unique_ptr<SimRouter> router;
  };
  struct Call {
    std::shared_ptr<SimClient> client;
    std::shared_ptr<router::Flight> flight;
    size_t router = 0;
    std::optional<absl::Duration> cancelled_at;
  };

  void Build();
  void StartWorker(WorkerSeat& seat);
  void StartRouter(RouterSeat& seat);
  void Kill(WorkerSeat& seat);
  void Kill(RouterSeat& seat, size_t index);
  void Plan();
  router::AcceptedRequest DrawRequest(int number);
  void DrawPrompt(router::AcceptedRequest& request, int32_t tokens_max);
  void DrawSampling(router::AcceptedRequest& request);
  void Send(router::AcceptedRequest request);
  void CancelLater(size_t call);

  void Strike(const Fault& fault);
  void Pause(WorkerSeat& seat, absl::Duration lasts);
  void DrainOut(WorkerSeat& seat, absl::Duration lasts);
  void Replace(WorkerSeat& seat, absl::Duration after);
  WorkerSeat& AnyWorker(bool decode);
  void Heal();

  void CheckAlways();
  void CheckCancelled();
  bool AllOver() const;
  bool Quiet();
  std::string CheckEnd();
  void Alarm(const std::string& what);
  void Count(const SimWorker& worker);
  void CountCalls();

  EventQueue queue_;
  const uint64_t seed_;
  const FaultProfile& profile_;
  WorkerPlan plan_;
  MemoryBus bus_;
  Network network_;
  std::map<std::string, SimWorker*> regions_;  // whose memory it is
  std::vector<WorkerSeat> workers_;
  std::vector<RouterSeat> routers_;
  std::vector<Call> calls_;
  int calls_ahead_ = 0;
  bool disturbed_ = false;  // a fault is at work, or was a moment ago
  std::string wrong_;
  Outcome outcome_;
};

}  // namespace baton::simulation
