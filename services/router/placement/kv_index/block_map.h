#pragma once

#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "common/kv/block_hash.h"
#include "services/router/placement/kv_index/block_records.h"
#include "services/router/placement/kv_index/huge_pages.h"
#include "services/router/placement/kv_index/slot_line.h"

namespace baton::router {

// From a block's hash to its record: 8 bytes a slot, searched a cache line of slots at a time, in
// shards that grow one by one, so that growing stalls nobody for long. One writer; Find from any
// thread within a visit.
class BlockMap {
 public:
  static constexpr uint32_t kRoomMax = 32;

  BlockMap(const BlockRecords& records, ReaderEpochs& epochs);

  // 0: not here.
  RecordId Find(const kv::BlockHash& hash) const {
    const uint64_t mixed = Mix(hash);
    const uint32_t tag = TagOf(mixed);
    const Table& table = *shards_[ShardOf(mixed)].table.load(std::memory_order_acquire);
    for (uint32_t line = tag & table.mask;; line = (line + 1) & table.mask) {
      SlotLine seen = ScanLine(table.LineAt(line), tag);
      for (; seen.tag != 0; seen.tag &= seen.tag - 1) {
        const uint64_t slot =
            table.LineAt(line)[std::countr_zero(seen.tag)].load(std::memory_order_acquire);
        const auto id = static_cast<RecordId>(slot);
        if (slot >> 32 == tag && id != 0 && records_.at(id).hash == hash) return id;
      }
      if (seen.empty != 0) return 0;
    }
  }
  // Brings the slots of a hash that is looked for soon into the cache.
  void Prefetch(const kv::BlockHash& hash) const {
    const uint64_t mixed = Mix(hash);
    const Table& table = *shards_[ShardOf(mixed)].table.load(std::memory_order_acquire);
    __builtin_prefetch(table.LineOf(TagOf(mixed)));
  }

  // What Find most likely finds, without looking at the record. 0: nothing.
  RecordId Likely(const kv::BlockHash& hash) const {
    const uint64_t mixed = Mix(hash);
    const uint32_t tag = TagOf(mixed);
    const Slot* const line =
        shards_[ShardOf(mixed)].table.load(std::memory_order_acquire)->LineOf(tag);
    const SlotLine seen = ScanLine(line, tag);
    if (seen.tag == 0) return 0;
    return static_cast<RecordId>(line[std::countr_zero(seen.tag)].load(std::memory_order_acquire));
  }

  // The writer's look-ups, in steps, so that many can wait for memory at once. What they return is
  // good until MakeRoom.
  struct Aim {  // where the search for a hash begins
    uint32_t shard;
    uint32_t tag;
  };
  struct Place {  // where the hash is, or where it can be put
    RecordId id;  // 0: not here
    uint32_t shard;
    uint32_t slot;
    uint32_t tag;
  };
  // At least a quarter of the slots stays free with `count` (kRoomMax at most) more put in:
  // searches for what is not here end soon.
  void MakeRoom(uint32_t count) {
    if (room_ < count) [[unlikely]] {
      FindRoom(count);
    }
  }
  // Fetches the slots.
  Aim AimAt(const kv::BlockHash& hash) const {
    const uint64_t mixed = Mix(hash);
    const Aim aim{.shard = ShardOf(mixed), .tag = TagOf(mixed)};
    __builtin_prefetch(shards_[aim.shard].owned->LineOf(aim.tag), 1);
    return aim;
  }
  // Fetches the record that is likely the one; the slots should be in the cache.
  void PrefetchRecord(const Aim& aim) const {
    const Slot* const line = shards_[aim.shard].owned->LineOf(aim.tag);
    const SlotLine seen = ScanLine(line, aim.tag);
    if (seen.tag != 0) {
      __builtin_prefetch(&records_.at(IdIn(line[std::countr_zero(seen.tag)])), 1);
    }
  }
  Place Locate(const Aim& aim, const kv::BlockHash& hash) const {
    const Table& table = *shards_[aim.shard].owned;
    Place place{.id = 0, .shard = aim.shard, .slot = kNoSlot, .tag = aim.tag};
    for (uint32_t line = aim.tag & table.mask;; line = (line + 1) & table.mask) {
      SlotLine seen = ScanLine(table.LineAt(line), aim.tag);
      for (; seen.tag != 0; seen.tag &= seen.tag - 1) {
        const uint32_t at = line * kSlotsInLine + std::countr_zero(seen.tag);
        const RecordId id = IdIn(table.slots[at]);
        if (id == 0 || records_.at(id).hash != hash) continue;
        place.id = id;
        place.slot = at;
        return place;
      }
      if (place.slot == kNoSlot && seen.free != 0) {
        place.slot = line * kSlotsInLine + std::countr_zero(seen.free);
      }
      if (seen.empty != 0) return place;
    }
  }
  // Requires room.
  void Put(const Place& place, RecordId id) {
    Shard& shard = shards_[place.shard];
    Slot& slot = shard.owned->slots[place.slot];
    shard.used += slot.load(std::memory_order_relaxed) == 0;
    ++shard.live;
    --room_;
    slot.store(uint64_t{place.tag} << 32 | id, std::memory_order_release);
  }
  // Requires that it is here.
  void Erase(const kv::BlockHash& hash) {
    const Place place = Locate(AimAt(hash), hash);
    Shard& shard = shards_[place.shard];
    const Table& table = *shard.owned;
    // A search that comes to a line with an empty slot ends there anyway: then this one is empty at
    // once, and nobody's search, which looks at whole lines, misses anything.
    const Slot* const line = table.LineAt(place.slot / kSlotsInLine);
    const bool ends_here = ScanLine(line, place.tag).empty != 0;
    table.slots[place.slot].store(ends_here ? 0 : kGivenUp, std::memory_order_release);
    shard.used -= ends_here;
    --shard.live;
  }
  void Reclaim();
  size_t bytes() const;
  size_t unlinked() const { return unlinked_.size(); }

 private:
  static constexpr uint32_t kNoSlot = ~uint32_t{0};
  struct Table {
    explicit Table(uint32_t capacity) : mask(capacity / kSlotsInLine - 1), slots(capacity) {}
    const Slot* LineAt(uint32_t line) const { return &slots[line * kSlotsInLine]; }
    const Slot* LineOf(uint32_t tag) const { return LineAt(tag & mask); }
    uint32_t capacity() const { return (mask + 1) * kSlotsInLine; }
    const uint32_t mask;  // of line numbers
    const HugeArray<Slot> slots;
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

  static RecordId IdIn(const Slot& slot) {
    return static_cast<RecordId>(slot.load(std::memory_order_relaxed));
  }
  static uint64_t Mix(const kv::BlockHash& hash) {
    return (hash.low ^ (hash.high >> 32)) * 0x9e3779b97f4a7c15u;
  }
  static uint32_t TagOf(uint64_t mixed) { return static_cast<uint32_t>(mixed >> 32); }
  static uint32_t ShardOf(uint64_t mixed) { return mixed >> 20 & (kShards - 1); }
  void FindRoom(uint32_t count);
  void Rebuild(Shard& shard, uint32_t count);

  const BlockRecords& records_;
  ReaderEpochs& epochs_;
  std::array<Shard, kShards> shards_;
  uint32_t room_ = 0;  // so many can be put into any shard
  Unlinked<std::unique_ptr<Table>> unlinked_;
};

}  // namespace baton::router
