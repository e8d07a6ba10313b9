#include "services/router/placement/kv_index/block_map.h"

#include <algorithm>
#include <utility>

namespace baton::router {
namespace {

constexpr uint32_t kCapacityMin = 2 * BlockMap::kRoomMax;

}  // namespace

BlockMap::BlockMap(const BlockRecords& records, ReaderEpochs& epochs)
    : records_(records), epochs_(epochs) {
  for (Shard& shard : shards_) {
    shard.owned = std::make_unique<Table>(kCapacityMin);
    shard.used_max = kCapacityMin / 4 * 3;
    shard.table.store(shard.owned.get(), std::memory_order_release);
  }
}

void BlockMap::FindRoom(uint32_t count) {
  room_ = ~uint32_t{0};
  for (Shard& shard : shards_) {
    if (shard.used + count > shard.used_max) Rebuild(shard, count);
    room_ = std::min(room_, shard.used_max - shard.used);
  }
}

// Into a table of its own, which readers see when it is complete.
void BlockMap::Rebuild(Shard& shard, uint32_t count) {
  const uint32_t capacity = shard.owned->capacity();
  const bool full = shard.live + count > capacity / 8 * 3;
  auto fresh = std::make_unique<Table>(full ? 2 * capacity : capacity);
  for (uint32_t i = 0; i < capacity; ++i) {
    const uint64_t slot = shard.owned->slots[i].load(std::memory_order_relaxed);
    if (static_cast<RecordId>(slot) == 0) continue;
    const auto tag = static_cast<uint32_t>(slot >> 32);
    uint32_t line = tag & fresh->mask;
    SlotLine seen = ScanLine(fresh->LineAt(line), tag);
    while (seen.empty == 0) {
      line = (line + 1) & fresh->mask;
      seen = ScanLine(fresh->LineAt(line), tag);
    }
    const uint32_t at = line * kSlotsInLine + std::countr_zero(seen.empty);
    fresh->slots[at].store(slot, std::memory_order_relaxed);
  }
  shard.used = shard.live;
  shard.used_max = fresh->capacity() / 4 * 3;
  shard.table.store(fresh.get(), std::memory_order_release);
  unlinked_.Add(std::exchange(shard.owned, std::move(fresh)), epochs_);
}

void BlockMap::Reclaim() {
  while (unlinked_.TakeUnseen(epochs_)) {
  }
}

size_t BlockMap::bytes() const {
  size_t bytes = 0;
  for (const Shard& shard : shards_) bytes += shard.owned->capacity() * sizeof(uint64_t);
  return bytes;
}

}  // namespace baton::router
