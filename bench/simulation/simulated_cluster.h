#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "bench/simulation/model_worker.h"
#include "bench/simulation/trace.h"

namespace baton::simulation {

struct ClusterOptions {
  std::vector<WorkerSpec> workers;
  Hops hops;
  int routers = 1;
  std::string policy = "cost";
  double itl_target_ms = 0;  // what `cost` is told (router.itl_target)
  absl::Duration patience;   // the run ends so long after its last request was sent
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
};

// The router's own code, as many times as there are routers, over the same model workers. Routers
// know of each other only what the workers report. Requests are dealt to them in turn. One thread;
// the same options and trace give the same outcomes.
RunResult Simulate(const ClusterOptions& options, const std::vector<TraceRequest>& trace);

}  // namespace baton::simulation
