#include "services/router/placement/kv_index/block_map.h"

#include "common/base/check.h"

namespace baton::router {
namespace {

constexpr uint32_t kCapacityMin = 64;

}  // namespace

BlockMap::BlockMap(const BlockRecords& records, ReaderEpochs& epochs)
    : records_(records), epochs_(epochs) {
  for (Shard& shard : shards_) {
    shard.owned = std::make_unique<Table>(kCapacityMin);
    shard.table.store(shard.owned.get(), std::memory_order_release);
  }
}

RecordId BlockMap::Find(const kv::BlockHash& hash) const {
  const uint64_t mixed = Mix(hash);
  const uint32_t tag = TagOf(mixed);
  const Table& table = *shards_[ShardOf(mixed)].table.load(std::memory_order_acquire);
  for (uint32_t at = tag & table.mask;; at = (at + 1) & table.mask) {
    const uint64_t slot = table.slots[at].load(std::memory_order_acquire);
    if (slot == 0) return 0;
    const auto id = static_cast<RecordId>(slot);
    if (slot >> 32 == tag && id != 0 && records_.at(id).hash == hash) return id;
  }
}

void BlockMap::Prefetch(const kv::BlockHash& hash) const {
  const uint64_t mixed = Mix(hash);
  const Table& table = *shards_[ShardOf(mixed)].table.load(std::memory_order_acquire);
  __builtin_prefetch(&table.slots[TagOf(mixed) & table.mask]);
}

void BlockMap::Insert(RecordId id) {
  const uint64_t mixed = Mix(records_.at(id).hash);
  Shard& shard = shards_[ShardOf(mixed)];
  // At least a quarter of the slots stays free: searches for what is not here end soon.
  if (shard.used + 1 > (shard.owned->mask + 1) / 4 * 3) Rebuild(shard);
  Table& table = *shard.owned;
  uint32_t at = TagOf(mixed) & table.mask;
  for (;; at = (at + 1) & table.mask) {
    const uint64_t slot = table.slots[at].load(std::memory_order_relaxed);
    if (slot == 0) ++shard.used;
    if (slot == 0 || slot == kGivenUp) break;
  }
  table.slots[at].store(uint64_t{TagOf(mixed)} << 32 | id, std::memory_order_release);
  ++shard.live;
}

void BlockMap::Erase(RecordId id) {
  const uint64_t mixed = Mix(records_.at(id).hash);
  const uint64_t wanted = uint64_t{TagOf(mixed)} << 32 | id;
  Shard& shard = shards_[ShardOf(mixed)];
  Table& table = *shard.owned;
  uint32_t at = TagOf(mixed) & table.mask;
  for (;; at = (at + 1) & table.mask) {
    const uint64_t slot = table.slots[at].load(std::memory_order_relaxed);
    CHECK(slot != 0, "record {} is not in the map", id);
    if (slot == wanted) break;
  }
  // A search that comes to the next slot ends there anyway: then this one may be free at once.
  const bool last = table.slots[(at + 1) & table.mask].load(std::memory_order_relaxed) == 0;
  table.slots[at].store(last ? 0 : kGivenUp, std::memory_order_release);
  if (last) --shard.used;
  --shard.live;
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
