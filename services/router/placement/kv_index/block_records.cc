#include "services/router/placement/kv_index/block_records.h"

namespace baton::router {

BlockRecords::BlockRecords(size_t records_max, ReaderEpochs& epochs)
    : records_max_(records_max),
      epochs_(epochs),
      // Twice the records: those that wait for readers to leave count against no limit.
      chunks_(new std::atomic<BlockRecord*>[2 * records_max / kChunk + 2]()) {}

RecordId BlockRecords::TakeNewId() {
  const size_t chunk = end_ / kChunk;
  if (chunk >= 2 * records_max_ / kChunk + 2) return 0;
  if (chunk >= owned_.size()) {
    owned_.push_back(std::make_unique<HugeArray<BlockRecord>>(kChunk));
    chunks_[chunk].store(owned_.back()->data(), std::memory_order_release);
  }
  return end_++;
}

void BlockRecords::Reclaim() {
  while (auto id = unlinked_.TakeUnseen(epochs_)) free_.push_back(*id);
}

}  // namespace baton::router
