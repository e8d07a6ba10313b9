#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "common/kv/block_hash.h"
#include "services/router/placement/kv_index/huge_pages.h"
#include "services/router/placement/kv_index/reader_epochs.h"
#include "services/router/placement/kv_index/worker_set.h"

namespace baton::router {

// Index of a record; 0: none.
using RecordId = uint32_t;
// Instead of a parent: its record was freed. Only workers that are gone still hold the block.
inline constexpr RecordId kParentGone = ~RecordId{0};

// A block that at least one worker holds together with everything before it. Readers see hash and
// holders; the links form the tree of prefixes and are the writer's.
struct BlockRecord {
  kv::BlockHash hash;
  WorkerSet holders;
  RecordId parent;       // 0: a prompt's first block; kParentGone
  RecordId first_child;  // read and written by Siblings
};
static_assert(sizeof(BlockRecord) == 32, "two of them in a cache line, none in two");

// All records, in pieces that never move. One writer; `at` from any thread within a visit.
class BlockRecords {
 public:
  BlockRecords(size_t records_max, ReaderEpochs& epochs);

  BlockRecord& at(RecordId id) const {
    return chunks_[id / kChunk].load(std::memory_order_acquire)[id % kChunk];
  }
  // A record with no links and no holders; 0 when there are records_max.
  RecordId Allocate(const kv::BlockHash& hash) {
    const RecordId id = TakeId();
    if (id == 0) return 0;
    BlockRecord& record = at(id);
    record.hash = hash;
    record.holders.store(0, std::memory_order_relaxed);
    record.parent = record.first_child = 0;
    ++live_;
    return id;
  }
  // Readers may still look at it for a while. Its holders are none by now.
  void Free(RecordId id) {
    --live_;
    unlinked_.Add(id, epochs_);
  }
  void Reclaim();
  // Brings the next `count` that Allocate gives into the cache.
  void Prefetch(size_t count) const {
    const size_t reused = count < free_.size() ? count : free_.size();
    for (size_t i = 0; i < reused; ++i) __builtin_prefetch(&at(free_[free_.size() - 1 - i]), 1);
  }

  bool full() const { return live_ >= records_max_; }
  size_t size() const { return live_; }
  size_t unlinked() const { return unlinked_.size(); }
  size_t records_max() const { return records_max_; }
  // Every id below has been given out at some time.
  RecordId end() const { return end_; }
  bool live(RecordId id) const { return !WorkerSets::Empty(at(id).holders); }
  size_t bytes() const { return end_ * sizeof(BlockRecord); }

 private:
  static constexpr size_t kChunk = 1 << 18;  // 8 MB, touched as they are used

  RecordId TakeId() {
    if (live_ >= records_max_) return 0;
    if (free_.empty()) return TakeNewId();
    const RecordId id = free_.back();
    free_.pop_back();
    return id;
  }
  RecordId TakeNewId();

  const size_t records_max_;
  ReaderEpochs& epochs_;
  std::unique_ptr<std::atomic<BlockRecord*>[]> chunks_;
  std::vector<std::unique_ptr<HugeArray<BlockRecord>>> owned_;
  RecordId end_ = 1;
  size_t live_ = 0;
  std::vector<RecordId> free_;
  Unlinked<RecordId> unlinked_;
};

}  // namespace baton::router
