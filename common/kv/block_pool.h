#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "common/base/strong_id.h"

namespace baton::kv {

// Where a block stands. Exactly one of these holds for every block at any time:
//
//   kFree         nothing worth keeping in it
//   kCached       nobody refers to it, its content has a name in the prefix cache; evictable
//                 unless pinned
//   kActive       somebody refers to it
//   kQuarantined  nobody may refer to it: a write aimed at it may still be on its way
//   kReplaced     quarantined, and a spare has taken its place in the pool
//   kSpare        out of use, ready to take a quarantined block's place
enum class BlockState : uint8_t { kFree, kCached, kActive, kQuarantined, kReplaced, kSpare };

// Who refers to which of a pool's blocks. Ids only, no memory. Single-threaded plain data; every
// method is O(1). Breaking a "requires" is our own bug and stops the process.
class BlockPool {
 public:
  struct Counters {  // free, cached, active and quarantined add up to total, always
    int32_t total = 0;
    int32_t free = 0;
    int32_t cached = 0;
    int32_t active = 0;
    int32_t quarantined = 0;
    int32_t replaced = 0;  // replaced and spare add up to the spares that the pool was made with
    int32_t spare = 0;
    int64_t evictions = 0;  // since the start
    friend bool operator==(const Counters&, const Counters&) = default;
  };

  // `num_blocks` to use, and behind them `num_spares` ids more.
  explicit BlockPool(int32_t num_blocks, int32_t num_spares = 0);
  // Ids are 0 … num_ids()-1.
  int32_t num_ids() const { return static_cast<int32_t>(blocks_.size()); }

  // Called with a cached block that is about to be taken for something else; it is named no more.
  void set_eviction_listener(std::function<void(BlockId)> listener);

  // A free block, else the cached one that was released longest ago; with one reference. Empty when
  // nothing is free or evictable.
  std::optional<BlockId> Allocate();
  // How many Allocate() calls in a row would succeed now.
  int32_t allocatable() const { return counters_.free + evictable_; }

  // One more reference. Requires an active or cached block.
  void Reference(BlockId block);
  // One reference less. The last one makes it cached if named, else free. Requires an active block.
  void Release(BlockId block);

  // Its content has a name now: it outlives its last reference. Requires an active, unnamed block.
  void Name(BlockId block);
  bool named(BlockId block) const { return at(block).named; }

  // Gives up the caller's reference, which must be the only one, to an unnamed block that somebody
  // may still write to. It is out of use until EndQuarantine(), then free.
  void Quarantine(BlockId block);
  void EndQuarantine(BlockId block);
  // The quarantine lasts: a spare becomes free in its place, and the block will be a spare when its
  // quarantine ends. False, and nothing has changed, when there is no spare left.
  bool Replace(BlockId block);

  // A pinned block is never evicted. Pins count. Requires a named block.
  void Pin(BlockId block);
  void Unpin(BlockId block);

  BlockState state(BlockId block) const { return at(block).state; }
  int32_t references(BlockId block) const { return at(block).references; }
  const Counters& counters() const { return counters_; }

 private:
  struct Block {
    BlockState state = BlockState::kFree;
    bool named = false;
    int32_t references = 0;
    int32_t pins = 0;
    int32_t older = -1;  // neighbours in the eviction list, while cached and not pinned
    int32_t newer = -1;
  };

  Block& at(BlockId block);
  const Block& at(BlockId block) const;
  int32_t& CountOf(BlockState state);
  void Move(Block& block, BlockState to);
  void AddNewest(BlockId block);
  void Unlink(BlockId block);

  std::vector<Block> blocks_;
  std::vector<int32_t> free_;  // a stack: the block freed last is likeliest in the CPU's caches
  std::vector<int32_t> spares_;
  int32_t oldest_ = -1;
  int32_t newest_ = -1;
  int32_t evictable_ = 0;
  Counters counters_;
  std::function<void(BlockId)> eviction_listener_;
};

}  // namespace baton::kv
