#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "common/engine/observer.h"
#include "services/router/placement/kv_index/block_map.h"
#include "services/router/placement/kv_index/block_records.h"
#include "services/router/placement/kv_index/orphans.h"
#include "services/router/placement/kv_index/reader_epochs.h"
#include "services/router/placement/kv_index/siblings.h"
#include "services/router/placement/kv_index/worker_set.h"

namespace baton::router {

// Which blocks each worker holds together with everything before them ("complete"). Along a prompt
// these sets only shrink, and that is what lets a look-up jump. What a worker holds behind a hole
// waits among its orphans. One writer; Find from any thread within a visit.
class PrefixTree {
 public:
  PrefixTree(size_t blocks_max, ReaderEpochs& epochs);

  // The record of a block somebody holds completely; null: nobody.
  const BlockRecord* Find(const kv::BlockHash& hash) const {
    const RecordId id = map_.Find(hash);
    return id == 0 ? nullptr : &records_.at(id);
  }
  // The same in two steps, so that several look-ups can wait for memory together: what Guess says,
  // which it fetches, and then whether that was right.
  const BlockRecord* Guess(const kv::BlockHash& hash) const {
    const RecordId id = map_.Likely(hash);
    if (id == 0) return nullptr;
    const BlockRecord* const record = &records_.at(id);
    __builtin_prefetch(record);
    return record;
  }
  const BlockRecord* Find(const kv::BlockHash& hash, const BlockRecord* guessed) const {
    return guessed != nullptr && guessed->hash == hash ? guessed : Find(hash);
  }
  // Brings the slots of a hash that is looked for soon into the cache.
  void Prefetch(const kv::BlockHash& hash) const { map_.Prefetch(hash); }

  // The worker holds the blocks now, or no more, in this order. What is known already changes
  // nothing.
  void Store(WorkerNumber worker, std::span<const engine::KvEvents::Stored> blocks);
  void Drop(WorkerNumber worker, std::span<const kv::BlockHash> blocks);

  // A worker is gone: its orphans at once, its blocks by sweeps over all records.
  void DropOrphans(WorkerNumber worker);
  // Takes the workers in `gone` out of up to `budget` records from *next on, and moves *next; 0
  // when the end was reached.
  void Sweep(const WorkerMask<kWorkerWordsMax>& gone, size_t budget, RecordId* next);

  void Reclaim();
  // Things that wait for Reclaim.
  size_t unlinked() const { return records_.unlinked() + map_.unlinked() + sets_.unlinked(); }

  size_t blocks_of(WorkerNumber worker) const;  // orphans included
  size_t num_blocks() const { return records_.size(); }
  size_t orphans() const { return orphans_total_; }
  // Blocks that were not taken in because the index is full.
  uint64_t refused() const { return refused_; }
  size_t bytes() const;

 private:
  struct Holding {
    size_t complete = 0;
    Orphans orphans;
  };
  Holding& HoldingOf(WorkerNumber worker) {
    if (worker >= holdings_.size() || holdings_[worker] == nullptr) AddHolding(worker);
    return *holdings_[worker];
  }
  void AddHolding(WorkerNumber worker);
  size_t StoreRun(WorkerNumber worker, Holding& holding,
                  std::span<const engine::KvEvents::Stored> run);
  void StoreOne(WorkerNumber worker, Holding& holding, const engine::KvEvents::Stored& block);
  bool TakeIn(WorkerNumber worker, Holding& holding, const kv::BlockHash& hash,
              const kv::BlockHash& parent);
  void Enter(WorkerNumber worker, Holding& holding, RecordId id, RecordId parent, bool unlinked);
  void EnterBehindLeaf(WorkerNumber worker, Holding& holding, RecordId id, RecordId parent);
  RecordId FindParent(const kv::BlockHash& parent) const;
  RecordId OnlyChildOfRecent(const kv::BlockHash& hash, const kv::BlockHash& parent) const;
  void AddOrphan(Holding& holding, const kv::BlockHash& hash, const kv::BlockHash& parent);
  void Adopt(WorkerNumber worker, Holding& holding, const kv::BlockHash& parent);
  void DropOne(WorkerNumber worker, Holding& holding, const kv::BlockHash& hash);
  void OrphanDescendants(WorkerNumber worker, Holding& holding, RecordId id);
  void EraseHolder(WorkerNumber worker, Holding& holding, RecordId id);
  static uint64_t ChildrenKey(RecordId record, WorkerNumber worker) {
    return uint64_t{record} << 16 | worker;
  }
  void CountChild(RecordId parent, WorkerNumber worker);
  void UncountChild(const BlockRecord& child, WorkerNumber worker);
  void FreeRecord(RecordId id);

  BlockRecords records_;
  BlockMap map_;
  WorkerSets sets_;
  Siblings siblings_;
  std::vector<std::unique_ptr<Holding>> holdings_;  // by worker number
  // A holder's mark in a record: it holds children of the block too. How many beyond the first, for
  // the few that have several; key: record << 16 | worker.
  absl::flat_hash_map<uint64_t, uint32_t> more_children_;
  RecordId recent_ = 0;  // stored last: likely the next one's parent
  size_t orphans_total_ = 0;
  uint64_t refused_ = 0;
};

}  // namespace baton::router
