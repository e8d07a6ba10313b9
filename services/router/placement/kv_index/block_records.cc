#include "services/router/placement/kv_index/block_records.h"

namespace baton::router {

BlockRecords::BlockRecords(size_t records_max, ReaderEpochs& epochs)
    : records_max_(records_max),
      epochs_(epochs),
      // Twice the records: those that wait for readers to leave count against no limit.
      chunks_(new std::atomic<BlockRecord*>[2 * records_max / kChunk + 2]()) {}

RecordId BlockRecords::Allocate(const kv::BlockHash& hash) {
  if (live_ >= records_max_) return 0;
  RecordId id = 0;
  if (!free_.empty()) {
    id = free_.back();
    free_.pop_back();
  } else {
    if (end_ / kChunk >= 2 * records_max_ / kChunk + 2) return 0;
    if (end_ / kChunk >= num_chunks_) {
      owned_.emplace_back(new BlockRecord[kChunk]);
      chunks_[num_chunks_++].store(owned_.back().get(), std::memory_order_release);
    }
    id = end_++;
  }
  BlockRecord& record = at(id);
  record.hash = hash;
  record.holders.store(0, std::memory_order_relaxed);
  record.parent = record.first_child = record.next = record.previous = 0;
  ++live_;
  return id;
}

void BlockRecords::Free(RecordId id) {
  --live_;
  unlinked_.Add(id, epochs_);
}

void BlockRecords::Reclaim() {
  while (auto id = unlinked_.TakeUnseen(epochs_)) free_.push_back(*id);
}

}  // namespace baton::router
