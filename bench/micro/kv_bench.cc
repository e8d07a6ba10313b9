// Block bookkeeping: hashing a prompt, finding its prefix, taking and giving blocks.

#include <benchmark/benchmark.h>

#include <numeric>

#include "common/kv/block_hash.h"
#include "common/kv/block_pool.h"
#include "common/kv/block_table.h"
#include "common/kv/prefix_cache.h"

namespace baton::kv {
namespace {

std::vector<int32_t> Tokens(int64_t count, int32_t first = 0) {
  std::vector<int32_t> tokens(count);
  std::iota(tokens.begin(), tokens.end(), first);
  return tokens;
}

void HashPrompt(benchmark::State& state) {
  const std::vector<int32_t> tokens = Tokens(state.range(0));
  const int32_t block_tokens = static_cast<int32_t>(state.range(1));
  for (auto _ : state) benchmark::DoNotOptimize(HashBlocks(tokens, block_tokens, "model"));
  state.SetItemsProcessed(state.iterations() * state.range(0) / block_tokens);  // blocks
  state.SetBytesProcessed(state.iterations() * state.range(0) * sizeof(int32_t));
}
BENCHMARK(HashPrompt)->Args({2048, 16})->Args({131072, 16})->Args({131072, 64});

void AllocateAndRelease(benchmark::State& state) {
  BlockPool pool(4096);
  for (auto _ : state) {
    const BlockId block = *pool.Allocate();
    pool.Release(block);
  }
}
BENCHMARK(AllocateAndRelease);

// Every allocation takes the oldest cached block, and its content gets a new name.
void EvictAndName(benchmark::State& state) {
  BlockPool pool(4096);
  PrefixCache cache(pool);
  uint64_t name = 0;
  for (auto _ : state) {
    const BlockId block = *pool.Allocate();
    ++name;
    cache.Insert({name, name * 0x9e3779b97f4a7c15u}, {}, block);
    pool.Release(block);
    if (name % 256 == 0) benchmark::DoNotOptimize(cache.TakeChanges());
  }
}
BENCHMARK(EvictAndName);

// A prompt of which all but the last block is cached, found, taken and given back.
void TakeCachedPrefix(benchmark::State& state) {
  const int32_t num_blocks = static_cast<int32_t>(state.range(0));
  const std::vector<int32_t> tokens = Tokens(int64_t{num_blocks} * 16);
  BlockPool pool(num_blocks + 16);
  PrefixCache cache(pool);
  BlockHasher hasher("model");
  BlockSpace space{pool, &cache, hasher, 16};
  BlockTable table(space);
  table.GrowTo(num_blocks);
  table.Commit(tokens, static_cast<int32_t>(tokens.size()));
  table.Release();
  for (auto _ : state) {
    benchmark::DoNotOptimize(table.TakePrefix(tokens, num_blocks));
    table.Release();
  }
  state.SetItemsProcessed(state.iterations() * num_blocks);
}
BENCHMARK(TakeCachedPrefix)->Arg(128)->Arg(8192);

}  // namespace
}  // namespace baton::kv
