#include "services/router/placement/kv_index/prefix_tree.h"

#include <algorithm>
#include <array>
#include <utility>

// The invariant, for every worker and block: the worker is a holder of the block's record if and
// only if it holds the block and is a holder of the parent's record (or there is no parent). All
// other blocks it holds are its orphans. Storing a block may make orphans complete, dropping one
// may orphan its descendants; a block changes sides only when something before it does.
namespace baton::router {
PrefixTree::PrefixTree(size_t blocks_max, ReaderEpochs& epochs)
    : records_(blocks_max, epochs), map_(records_, epochs), sets_(epochs), siblings_(records_) {}

void PrefixTree::Drop(WorkerNumber worker, std::span<const kv::BlockHash> blocks) {
  Holding& holding = HoldingOf(worker);
  std::array<BlockMap::Aim, BlockMap::kRoomMax> aims;
  while (!blocks.empty()) {
    const auto run = blocks.first(std::min(blocks.size(), aims.size()));
    for (size_t i = 0; i < run.size(); ++i) aims[i] = map_.AimAt(run[i]);
    for (size_t i = 0; i < run.size(); ++i) map_.PrefetchRecord(aims[i]);
    for (const kv::BlockHash& hash : run) DropOne(worker, holding, hash);
    blocks = blocks.subspan(run.size());
  }
}

void PrefixTree::DropOne(WorkerNumber worker, Holding& holding, const kv::BlockHash& hash) {
  const RecordId id = map_.Find(hash);
  if (id == 0 || !WorkerSets::Holds(records_.at(id).holders, worker)) {
    if (holding.orphans.Remove(hash)) --orphans_total_;
    return;
  }
  if (WorkerSets::Marked(records_.at(id).holders, worker)) OrphanDescendants(worker, holding, id);
  EraseHolder(worker, holding, id);
}

// What the worker holds below `id` has a hole before it from now on.
void PrefixTree::OrphanDescendants(WorkerNumber worker, Holding& holding, RecordId id) {
  std::vector<std::pair<RecordId, kv::BlockHash>> below;  // with the parent's hash; parents first
  const auto add_children = [&](RecordId parent) {
    const BlockRecord& above = records_.at(parent);
    siblings_.ForEach(above, [&](RecordId child) {
      if (WorkerSets::Holds(records_.at(child).holders, worker)) {
        below.emplace_back(child, above.hash);
      }
    });
  };
  add_children(id);
  for (size_t i = 0; i < below.size(); ++i) {
    const RecordId parent = below[i].first;
    if (WorkerSets::Marked(records_.at(parent).holders, worker)) add_children(parent);
  }
  for (size_t i = below.size(); i-- > 0;) {
    AddOrphan(holding, records_.at(below[i].first).hash, below[i].second);
    EraseHolder(worker, holding, below[i].first);
  }
}

void PrefixTree::EraseHolder(WorkerNumber worker, Holding& holding, RecordId id) {
  BlockRecord& record = records_.at(id);
  sets_.Erase(record.holders, worker);
  --holding.complete;
  if (record.parent != 0) UncountChild(record, worker);
  if (WorkerSets::Empty(record.holders)) FreeRecord(id);
}

void PrefixTree::UncountChild(const BlockRecord& child, WorkerNumber worker) {
  if (Siblings::Several(records_.at(child.parent))) {
    auto more = more_children_.find(ChildrenKey(child.parent, worker));
    if (more != more_children_.end()) {
      if (--more->second == 0) more_children_.erase(more);
      return;
    }
  }
  WorkerSets::SetMark(records_.at(child.parent).holders, worker, false);
}

void PrefixTree::FreeRecord(RecordId id) {
  BlockRecord& record = records_.at(id);
  if (record.parent != 0 && record.parent != kParentGone) siblings_.Remove(record.parent, id);
  // Children left are held by workers that are gone, and the sweep has not come to them yet.
  siblings_.RemoveAll(id);
  map_.Erase(record.hash);
  records_.Free(id);
  if (recent_ == id) recent_ = 0;
}

void PrefixTree::DropOrphans(WorkerNumber worker) {
  Holding& holding = HoldingOf(worker);
  orphans_total_ -= holding.orphans.size();
  holding = Holding();
}

void PrefixTree::Sweep(const WorkerMask<kWorkerWordsMax>& gone, size_t budget, RecordId* next) {
  const RecordId end = records_.end();
  if (*next == 0) *next = 1;  // there is no record 0, and no memory behind it in an empty index
  for (; budget > 0 && *next < end; --budget, ++*next) {
    if (!records_.live(*next)) continue;
    WorkerSet& holders = records_.at(*next).holders;
    if (!WorkerSets::AnyOf(holders, gone)) continue;
    for (const WorkerNumber worker : WorkerSets::Members(holders)) {
      if ((gone[worker / 64] >> (worker % 64) & 1) == 0) continue;
      if (WorkerSets::Marked(holders, worker)) more_children_.erase(ChildrenKey(*next, worker));
      sets_.Erase(holders, worker);
    }
    if (WorkerSets::Empty(holders)) FreeRecord(*next);
  }
  if (*next >= end) *next = 0;
}

void PrefixTree::Reclaim() {
  records_.Reclaim();
  map_.Reclaim();
  sets_.Reclaim();
}

void PrefixTree::AddHolding(WorkerNumber worker) {
  if (worker >= holdings_.size()) holdings_.resize(worker + 1u);
  holdings_[worker] = std::make_unique<Holding>();
}

size_t PrefixTree::blocks_of(WorkerNumber worker) const {
  if (worker >= holdings_.size() || holdings_[worker] == nullptr) return 0;
  return holdings_[worker]->complete + holdings_[worker]->orphans.size();
}

size_t PrefixTree::bytes() const {
  constexpr size_t kOrphanBytes = 160;  // two hash map entries and a set's first allocation
  return records_.bytes() + map_.bytes() + sets_.bytes() + siblings_.bytes() +
         orphans_total_ * kOrphanBytes + more_children_.capacity() * (sizeof(uint64_t) * 2 + 1);
}

}  // namespace baton::router
