#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "bench/simulation/model_worker.h"
#include "bench/simulation/trace.h"

namespace baton::simulation {

struct Pools {
  int prefill = 0, decode = 0;
  friend bool operator==(const Pools&, const Pools&) = default;
};

// What one router shows: its /debug/cluster and its /metrics.
struct RouterPages {
  std::string cluster, metrics;
};

// Says how many workers there should be, again and again.
class PoolScaler {
 public:
  virtual ~PoolScaler() = default;
  // `now`: those that are there or on their way, without those that leave.
  virtual Pools Decide(const std::vector<RouterPages>& routers, Pools now, absl::Duration at) = 0;
};

// Pools that grow and shrink while a run goes on. A worker is paid for from when it is asked for,
// takes `start_up` until it may work, and after that drains, and is paid for until it has nothing
// left.
struct Scaling {
  PoolScaler* scaler = nullptr;  // null: the workers stay as they are
  absl::Duration every = absl::Seconds(5);
  absl::Duration start_up;
  WorkerSpec prefill, decode;  // of new ones
};

struct ClusterOptions {
  std::vector<WorkerSpec> workers;
  Hops hops;
  int routers = 1;
  std::string policy = "cost";
  double itl_target_ms = 0;  // what `cost` is told (router.itl_target)
  Scaling scaling;
  absl::Duration patience;  // the run ends so long after its last request was sent
};

// What came of one request of the trace. Times count from its sending.
struct Outcome {
  bool completed = false;
  absl::Duration sent, ttft, e2e;
  int tokens = 0;
};

struct RunResult {
  std::vector<Outcome> outcomes;  // in the order of the trace
  double router_us = 0;           // CPU time of all routers' code
  double hit_percent = 0;         // of prompt tokens, found in a prefix cache
  // Sequences on the busiest decode worker over those on the average one, over time.
  double busiest = 0;
  // Workers that were paid for, summed over time, and the most at one moment.
  double prefill_seconds = 0, decode_seconds = 0;
  int workers_max = 0;
  int scalings = 0;  // times that a pool was made larger or smaller
};

// The router's own code, as many times as there are routers, over the same model workers. Routers
// know of each other only what the workers report. Requests are dealt to them in turn. One thread;
// the same options and trace give the same outcomes.
RunResult Simulate(const ClusterOptions& options, const std::vector<TraceRequest>& trace);

}  // namespace baton::simulation
