#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "common/kv/block_hash.h"
#include "services/router/placement/kv_index/block_records.h"
#include "services/router/placement/kv_index/huge_pages.h"

namespace baton::router {

// From a block's hash to its record: open addressing with 8 bytes a slot, in shards that grow one
// by one, so that growing stalls nobody for long. One writer; Find from any thread within a visit.
class BlockMap {
 public:
  BlockMap(const BlockRecords& records, ReaderEpochs& epochs);

  // 0: not here.
  RecordId Find(const kv::BlockHash& hash) const {
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
  // Brings the slot of a hash that is looked for soon into the cache.
  void Prefetch(const kv::BlockHash& hash) const {
    const uint64_t mixed = Mix(hash);
    const Table& table = *shards_[ShardOf(mixed)].table.load(std::memory_order_acquire);
    __builtin_prefetch(&table.slots[TagOf(mixed) & table.mask]);
  }

  // The same, one step further: the slot must be in the cache already.
  void PrefetchRecord(const kv::BlockHash& hash) const {
    const uint64_t mixed = Mix(hash);
    const Table& table = *shards_[ShardOf(mixed)].table.load(std::memory_order_acquire);
    const uint64_t slot = table.slots[TagOf(mixed) & table.mask].load(std::memory_order_relaxed);
    if (static_cast<RecordId>(slot) != 0) {
      __builtin_prefetch(&records_.at(static_cast<RecordId>(slot)), 1);
    }
  }

  // The writer's look-up: where the hash is, or where it can be put, until the next Locate.
  struct Place {
    RecordId id = 0;  // 0: not here
    uint32_t shard = 0;
    uint32_t slot = 0;
    uint32_t tag = 0;
  };
  Place Locate(const kv::BlockHash& hash) {
    const uint64_t mixed = Mix(hash);
    Place place{.shard = ShardOf(mixed), .tag = TagOf(mixed)};
    Shard& shard = shards_[place.shard];
    // At least a quarter of the slots stays free: searches for what is not here end soon.
    if (shard.used + 1 > shard.used_max) [[unlikely]] {
      Rebuild(shard);
    }
    const Table& table = *shard.owned;
    bool can_put = false;
    for (uint32_t at = place.tag & table.mask;; at = (at + 1) & table.mask) {
      const uint64_t slot = table.slots[at].load(std::memory_order_relaxed);
      const auto id = static_cast<RecordId>(slot);
      if (id == 0) {
        if (!can_put) place.slot = at;
        can_put = true;
        if (slot == 0) return place;
      } else if (slot >> 32 == place.tag && records_.at(id).hash == hash) {
        place.slot = at;
        place.id = id;
        return place;
      }
    }
  }
  void Put(const Place& place, RecordId id) {
    Shard& shard = shards_[place.shard];
    std::atomic<uint64_t>& slot = shard.owned->slots[place.slot];
    shard.used += slot.load(std::memory_order_relaxed) == 0;
    ++shard.live;
    slot.store(uint64_t{place.tag} << 32 | id, std::memory_order_release);
  }
  // Requires that it is here.
  void Erase(const kv::BlockHash& hash) { Erase(Locate(hash)); }
  void Erase(const Place& place) {
    Shard& shard = shards_[place.shard];
    const Table& table = *shard.owned;
    // A search that comes to the next slot ends there anyway: then this one is free at once.
    const uint64_t next =
        table.slots[(place.slot + 1) & table.mask].load(std::memory_order_relaxed);
    table.slots[place.slot].store(next == 0 ? 0 : kGivenUp, std::memory_order_release);
    shard.used -= next == 0;
    --shard.live;
  }
  void Reclaim();
  size_t bytes() const;
  size_t unlinked() const { return unlinked_.size(); }

 private:
  // A slot: 0 = free; record id in the low half, 32 bits of the mixed hash in the high half; id 0
  // with a high half of 1 = given up, a search goes on.
  struct Table {
    explicit Table(uint32_t capacity) : mask(capacity - 1), slots(capacity) {}
    const uint32_t mask;
    const HugeArray<std::atomic<uint64_t>> slots;
  };
  struct Shard {
    std::atomic<Table*> table = nullptr;
    std::unique_ptr<Table> owned;
    uint32_t live = 0;
    uint32_t used = 0;  // live and given up
    uint32_t used_max = 0;
  };
  static constexpr uint64_t kGivenUp = uint64_t{1} << 32;
  static constexpr uint32_t kShards = 16;

  static uint64_t Mix(const kv::BlockHash& hash) {
    return (hash.low ^ (hash.high >> 32)) * 0x9e3779b97f4a7c15u;
  }
  static uint32_t TagOf(uint64_t mixed) { return static_cast<uint32_t>(mixed >> 32); }
  static uint32_t ShardOf(uint64_t mixed) { return mixed >> 20 & (kShards - 1); }
  void Rebuild(Shard& shard);

  const BlockRecords& records_;
  ReaderEpochs& epochs_;
  std::array<Shard, kShards> shards_;
  Unlinked<std::unique_ptr<Table>> unlinked_;
};

}  // namespace baton::router
