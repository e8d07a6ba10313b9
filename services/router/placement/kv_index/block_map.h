#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "common/kv/block_hash.h"
#include "services/router/placement/kv_index/block_records.h"

namespace baton::router {

// From a block's hash to its record: open addressing with 8 bytes a slot, in shards that grow one
// by one, so that growing stalls nobody for long. One writer; Find from any thread within a visit.
class BlockMap {
 public:
  BlockMap(const BlockRecords& records, ReaderEpochs& epochs);

  // 0: not here.
  RecordId Find(const kv::BlockHash& hash) const;
  // Brings the slot of a hash that is looked for soon into the cache.
  void Prefetch(const kv::BlockHash& hash) const;

  // Requires that the hash is not here, and that the record carries it.
  void Insert(RecordId id);
  void Erase(RecordId id);
  void Reclaim();
  size_t bytes() const;

 private:
  // A slot: 0 = free; record id in the low half, 32 bits of the mixed hash in the high half; id 0
  // with a high half of 1 = given up, a search goes on.
  struct Table {
    explicit Table(uint32_t capacity)
        : mask(capacity - 1), slots(new std::atomic<uint64_t>[capacity]()) {}
    const uint32_t mask;
    const std::unique_ptr<std::atomic<uint64_t>[]> slots;
  };
  struct Shard {
    std::atomic<Table*> table = nullptr;
    std::unique_ptr<Table> owned;
    uint32_t live = 0;
    uint32_t used = 0;  // live and given up
  };
  static constexpr uint64_t kGivenUp = uint64_t{1} << 32;
  static constexpr size_t kShards = 64;

  static uint64_t Mix(const kv::BlockHash& hash) {
    return (hash.low ^ (hash.high >> 32)) * 0x9e3779b97f4a7c15u;
  }
  static uint32_t TagOf(uint64_t mixed) { return static_cast<uint32_t>(mixed >> 32); }
  static size_t ShardOf(uint64_t mixed) { return mixed >> 20 & (kShards - 1); }
  void Rebuild(Shard& shard);

  const BlockRecords& records_;
  ReaderEpochs& epochs_;
  std::array<Shard, kShards> shards_;
  Unlinked<std::unique_ptr<Table>> unlinked_;
};

}  // namespace baton::router
