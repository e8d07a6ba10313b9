#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "common/base/strong_id.h"
#include "common/kv/block_hash.h"
#include "common/kv/block_pool.h"

namespace baton::kv {

// Which block holds which prefix. Listens to one pool's evictions, so what it says is always true:
// a hash it knows names an active or cached block. Single-threaded; the pool outlives it.
class PrefixCache {
 public:
  struct Stored {
    BlockHash hash;
    BlockHash parent;  // all zero for a prompt's first block
  };
  // What changed between two calls, net: a hash is in at most one list, and order does not matter.
  struct Changes {
    std::vector<Stored> stored;
    std::vector<BlockHash> removed;
    bool empty() const { return stored.empty() && removed.empty(); }
  };
  // How much of a prompt is here.
  struct Found {
    int32_t blocks = 0;  // from the first block on, without a gap
    int32_t cached_blocks =
        0;  // of these, the ones nobody refers to now (they leave the evictable)
  };

  explicit PrefixCache(BlockPool& pool);
  PrefixCache(const PrefixCache&) = delete;
  PrefixCache& operator=(const PrefixCache&) = delete;

  // Changes nothing, not even the order of eviction.
  Found Probe(std::span<const BlockHash> hashes) const;
  std::optional<BlockId> Find(const BlockHash& hash) const;

  // Names `block`, which is active, full and final. False when another block has this content
  // already: then the block stays nameless and is freed with its last reference.
  bool Insert(const BlockHash& hash, const BlockHash& parent, BlockId block);

  Changes TakeChanges();
  std::vector<Stored> Snapshot() const;  // everything held, in no order
  int32_t size() const { return static_cast<int32_t>(entries_.size()); }

 private:
  struct Entry {
    BlockId block;
    BlockHash parent;
  };

  void OnEvicted(BlockId block);
  // Remembers whether `hash` was held before the first change since TakeChanges().
  void Touch(const BlockHash& hash, bool held_before);

  BlockPool& pool_;
  absl::flat_hash_map<BlockHash, Entry> entries_;
  std::vector<BlockHash> names_;                  // [block] valid where the pool says named
  absl::flat_hash_map<BlockHash, bool> touched_;  // -> held before
  std::vector<BlockHash> touched_order_;          // so that parents are told before their children
};

}  // namespace baton::kv
