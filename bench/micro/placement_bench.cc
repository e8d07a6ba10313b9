// What one decision costs the router: from a hashed prompt to a chosen worker, with the roster, the
// KV index and the policy as they are in service.

#include <benchmark/benchmark.h>

#include "bench/micro/placement_cluster.h"

namespace baton::router {
namespace {

using bench::PlacementCluster;

void Facts(benchmark::State& state) {
  PlacementCluster cluster(static_cast<int>(state.range(0)));
  for (auto _ : state) benchmark::DoNotOptimize(cluster.roster().Facts("model"));
}

void Snapshot(benchmark::State& state) {
  PlacementCluster cluster(static_cast<int>(state.range(0)));
  for (auto _ : state) benchmark::DoNotOptimize(&cluster.Snapshot());
}

void Decide(benchmark::State& state, const char* name) {
  PlacementCluster cluster(static_cast<int>(state.range(0)));
  const auto policy = *MakePolicy(name, {});
  const PlacementSnapshot& snapshot = cluster.Snapshot();
  const PlacementRequest request = PlacementCluster::Request();
  for (auto _ : state) benchmark::DoNotOptimize(policy->Decide(request, snapshot));
}

// All of the above, and telling the index what was placed.
void WholeDecision(benchmark::State& state) {
  PlacementCluster cluster(static_cast<int>(state.range(0)));
  const auto policy = *MakePolicy("cost", {});
  const PlacementRequest request = PlacementCluster::Request();
  for (auto _ : state) {
    benchmark::DoNotOptimize(cluster.roster().Facts("model"));
    const Decision decision = policy->Decide(request, cluster.Snapshot());
    cluster.roster().Expect(decision.prefill.empty() ? decision.decode : decision.prefill.front(),
                            cluster.prompt());
    benchmark::DoNotOptimize(decision.decode);
  }
}

BENCHMARK(Facts)->Arg(64)->Arg(1000);
BENCHMARK(Snapshot)->Arg(64)->Arg(1000);
BENCHMARK_CAPTURE(Decide, cost, "cost")->Arg(64)->Arg(1000);
BENCHMARK_CAPTURE(Decide, kv_aware, "kv-aware")->Arg(64)->Arg(1000);
BENCHMARK_CAPTURE(Decide, power_of_two, "power-of-two")->Arg(64)->Arg(1000);
BENCHMARK_CAPTURE(Decide, session_affinity, "session-affinity")->Arg(64)->Arg(1000);
BENCHMARK(WholeDecision)->Arg(64)->Arg(1000);

}  // namespace
}  // namespace baton::router
