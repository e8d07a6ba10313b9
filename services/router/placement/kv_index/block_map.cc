#include "services/router/placement/kv_index/block_map.h"

#include <utility>

namespace baton::router {
namespace {

constexpr uint32_t kCapacityMin = 64;

}  // namespace

BlockMap::BlockMap(const BlockRecords& records, ReaderEpochs& epochs)
    : records_(records), epochs_(epochs) {
  for (Shard& shard : shards_) {
    shard.owned = std::make_unique<Table>(kCapacityMin);
    shard.used_max = kCapacityMin / 4 * 3;
    shard.table.store(shard.owned.get(), std::memory_order_release);
  }
}

// Into a table of its own, which readers see when it is complete.
void BlockMap::Rebuild(Shard& shard) {
  const uint32_t capacity = shard.owned->mask + 1;
  const bool full = shard.live > capacity / 8 * 3;
  auto fresh = std::make_unique<Table>(full ? 2 * capacity : capacity);
  for (uint32_t i = 0; i < capacity; ++i) {
    const uint64_t slot = shard.owned->slots[i].load(std::memory_order_relaxed);
    if (static_cast<RecordId>(slot) == 0) continue;
    uint32_t at = static_cast<uint32_t>(slot >> 32) & fresh->mask;
    while (fresh->slots[at].load(std::memory_order_relaxed) != 0) at = (at + 1) & fresh->mask;
    fresh->slots[at].store(slot, std::memory_order_relaxed);
  }
  shard.used = shard.live;
  shard.used_max = (fresh->mask + 1) / 4 * 3;
  shard.table.store(fresh.get(), std::memory_order_release);
  unlinked_.Add(std::exchange(shard.owned, std::move(fresh)), epochs_);
}

void BlockMap::Reclaim() {
  while (unlinked_.TakeUnseen(epochs_)) {
  }
}

size_t BlockMap::bytes() const {
  size_t bytes = 0;
  for (const Shard& shard : shards_) bytes += (shard.owned->mask + 1) * sizeof(uint64_t);
  return bytes;
}

}  // namespace baton::router
