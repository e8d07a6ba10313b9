// Planning a step: what the engine thread spends before the model can start.

#include <benchmark/benchmark.h>

#include <memory>

#include "bench/micro/decoding_world.h"

namespace baton::engine {
namespace {

// Plan and commit of a decode step (a block name every 16th token included).
void DecodeStep(benchmark::State& state) {
  const int32_t running = static_cast<int32_t>(state.range(0));
  auto world = std::make_unique<bench::DecodingWorld>(running, 16, 512);
  int64_t steps = 0;
  for (auto _ : state) {
    world->Step();
    if (++steps % 900 == 0) {  // before the pool is full
      state.PauseTiming();
      world = std::make_unique<bench::DecodingWorld>(running, 16, 512);
      state.ResumeTiming();
    }
  }
  state.SetItemsProcessed(state.iterations() * running);
}
BENCHMARK(DecodeStep)->Arg(64)->Arg(1000)->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace baton::engine
