#include <memory>
#include <numeric>

#include "bench/guard/path.h"
#include "bench/micro/decoding_world.h"
#include "common/kv/block_hash.h"
#include "common/kv/block_table.h"
#include "common/kv/prefix_cache.h"

namespace baton::bench {
namespace {

std::vector<int32_t> Tokens(size_t count) {
  std::vector<int32_t> tokens(count);
  std::iota(tokens.begin(), tokens.end(), 0);
  return tokens;
}

std::function<void()> Stepping() {
  return [world = std::make_shared<engine::bench::DecodingWorld>(64, 16, 64)] { world->Step(); };
}

std::function<void()> Hashing() {
  return [tokens = Tokens(2048)] { (void)kv::HashBlocks(tokens, 16, "model"); };
}

// A pool whose cache knows a prompt of 128 blocks.
class CachedPrompt {
 public:
  CachedPrompt() {
    table_.GrowTo(128);
    table_.Commit(tokens_, int32_t(tokens_.size()));
    table_.Release();
  }
  void Take() {
    table_.TakePrefix(tokens_, 128);
    table_.Release();
  }

 private:
  const std::vector<int32_t> tokens_ = Tokens(128 * 16);
  kv::BlockPool pool_{256};
  kv::PrefixCache cache_{pool_};
  kv::BlockHasher hasher_{"model"};
  kv::BlockSpace space_{pool_, &cache_, hasher_, 16};
  kv::BlockTable table_{space_};
};

}  // namespace

std::vector<GuardedPath> EnginePaths() {
  return {
      {"a decode step of 64 sequences is planned", 48, Stepping},
      {"a prompt of 2,048 tokens is hashed", 5, Hashing},
      {"a cached prompt of 128 blocks is taken and given back", 10,
       [] { return [prompt = std::make_shared<CachedPrompt>()] { prompt->Take(); }; }},
  };
}

}  // namespace baton::bench
