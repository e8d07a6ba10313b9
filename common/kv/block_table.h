#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "common/base/strong_id.h"
#include "common/kv/block_hash.h"
#include "common/kv/block_pool.h"
#include "common/kv/prefix_cache.h"

namespace baton::kv {

// What all block tables of one engine share. Owned by the engine, outlives the tables.
struct BlockSpace {
  BlockPool& pool;
  PrefixCache* cache = nullptr;  // null: prefixes are never shared
  BlockHasher& hasher;
  int32_t block_tokens = 16;

  int32_t BlocksFor(int32_t tokens) const { return (tokens + block_tokens - 1) / block_tokens; }
};

// One sequence's blocks, in order, with one reference on each. The sequence's tokens are handed in;
// they may only ever be appended to. Single-threaded. Must be empty when it dies (Release or
// Quarantine first).
class BlockTable {
 public:
  explicit BlockTable(BlockSpace& space) : space_(&space) {}
  ~BlockTable();
  BlockTable(BlockTable&& other) noexcept;
  BlockTable& operator=(BlockTable&&) = delete;

  std::span<const int32_t> ids() const { return ids_; }
  int32_t num_blocks() const { return static_cast<int32_t>(ids_.size()); }
  std::vector<BlockId> Slice(int32_t first, int32_t last) const;  // [first, last)

  // How much of the first `blocks_max` full blocks of `tokens` the prefix cache holds. Changes
  // nothing.
  PrefixCache::Found Probe(std::span<const int32_t> tokens, int32_t blocks_max);
  // Takes them. Requires an empty table. Returns how many.
  int32_t TakePrefix(std::span<const int32_t> tokens, int32_t blocks_max);
  // Appends blocks up to `num_blocks` in total: all, or none and false.
  bool GrowTo(int32_t num_blocks);
  // Says that the K and V of the first `num_computed` tokens are final: full blocks get their name.
  void Commit(std::span<const int32_t> tokens, int32_t num_computed);

  // Gives all blocks up, tail first, so that a prefix outlives what follows it in the cache.
  void Release();
  // As Release(), but blocks from `first` on go to quarantine and are returned. They must be nobody
  // else's and nameless.
  std::vector<BlockId> ReleaseAndQuarantine(int32_t first);

 private:
  std::span<const BlockHash> Hashes(std::span<const int32_t> tokens, int32_t num_blocks);

  BlockSpace* space_;
  std::vector<int32_t> ids_;
  std::vector<BlockHash>
      hashes_;  // of the sequence's full blocks as far as asked for; outlive Release()
  int32_t num_committed_ = 0;  // blocks
};

}  // namespace baton::kv
