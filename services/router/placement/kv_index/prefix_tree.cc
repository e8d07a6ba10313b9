#include "services/router/placement/kv_index/prefix_tree.h"

#include <utility>

// The invariant, for every worker and block: the worker is a holder of the block's record if and
// only if it holds the block and is a holder of the parent's record (or there is no parent). All
// other blocks it holds are its orphans. Storing a block may make orphans complete, dropping one
// may orphan its descendants; a block changes sides only when something before it does.
namespace baton::router {
namespace {

constexpr kv::BlockHash kNoBlock;

uint64_t ChildrenKey(RecordId record, WorkerNumber worker) {
  return uint64_t{record} << 16 | worker;
}

}  // namespace

PrefixTree::PrefixTree(size_t blocks_max, ReaderEpochs& epochs)
    : records_(blocks_max, epochs), map_(records_, epochs), sets_(epochs) {}

void PrefixTree::Store(WorkerNumber worker, const kv::BlockHash& hash,
                       const kv::BlockHash& parent) {
  Holding& holding = HoldingOf(worker);
  if (!holding.orphans.empty() && holding.orphans.Has(hash)) return;
  if (!TakeIn(worker, holding, hash, parent)) return;
  if (!holding.orphans.empty()) Adopt(worker, holding, hash);
}

// True: the worker holds it completely, and did not before.
bool PrefixTree::TakeIn(WorkerNumber worker, Holding& holding, const kv::BlockHash& hash,
                        const kv::BlockHash& parent) {
  BlockMap::Place place;
  RecordId id = OnlyChildOfRecent(hash, parent);
  if (id == 0) {
    place = map_.Locate(hash);
    id = place.id;
  }
  if (id != 0 && WorkerSets::Holds(records_.at(id).holders, worker)) {
    recent_ = id;
    return false;
  }
  // Who stored it first has said what its parent is: the hash allows one only.
  RecordId parent_id = id != 0 ? records_.at(id).parent : kParentGone;
  const bool unlinked = parent_id == kParentGone;
  if (unlinked) parent_id = parent == kNoBlock ? 0 : FindParent(parent);
  if (parent_id == kParentGone ||
      (parent_id != 0 && !WorkerSets::Holds(records_.at(parent_id).holders, worker))) {
    AddOrphan(holding, hash, parent);
    return false;
  }
  if (id == 0) {
    id = records_.Allocate(hash);
    if (id == 0) return ++refused_, false;
    map_.Put(place, id);
  }
  BlockRecord& record = records_.at(id);
  if (unlinked) Link(id, parent_id);
  sets_.Insert(record.holders, worker);
  if (parent_id != 0) CountChild(parent_id, worker);
  ++holding.complete;
  recent_ = id;
  return true;
}

void PrefixTree::Drop(WorkerNumber worker, const kv::BlockHash& hash) {
  Holding& holding = HoldingOf(worker);
  const RecordId id = map_.Find(hash);
  if (id == 0 || !WorkerSets::Holds(records_.at(id).holders, worker)) {
    if (holding.orphans.Remove(hash)) --orphans_total_;
    return;
  }
  if (WorkerSets::Marked(records_.at(id).holders, worker)) OrphanDescendants(worker, holding, id);
  EraseHolder(worker, holding, id);
}

// A chain that another worker has stored already is followed link by link, past the map. 0: look
// there.
RecordId PrefixTree::OnlyChildOfRecent(const kv::BlockHash& hash,
                                       const kv::BlockHash& parent) const {
  if (recent_ == 0) return 0;
  const BlockRecord& recent = records_.at(recent_);
  if (recent.first_child == 0 || recent.hash != parent) return 0;
  return records_.at(recent.first_child).hash == hash ? recent.first_child : 0;
}

RecordId PrefixTree::FindParent(const kv::BlockHash& parent) const {
  if (recent_ != 0 && records_.at(recent_).hash == parent) return recent_;
  const RecordId id = map_.Find(parent);
  return id == 0 ? kParentGone : id;
}

void PrefixTree::AddOrphan(Holding& holding, const kv::BlockHash& hash,
                           const kv::BlockHash& parent) {
  if (orphans_total_ >= records_.records_max()) {
    ++refused_;
    return;
  }
  holding.orphans.Add(hash, parent);
  ++orphans_total_;
}

// The orphans behind `parent`, and those behind them: complete now.
void PrefixTree::Adopt(WorkerNumber worker, Holding& holding, const kv::BlockHash& parent) {
  std::vector<kv::BlockHash> parents = {parent};
  while (!parents.empty() && !holding.orphans.empty()) {
    const kv::BlockHash next = parents.back();
    parents.pop_back();
    for (const kv::BlockHash& child : holding.orphans.TakeChildrenOf(next)) {
      --orphans_total_;
      if (TakeIn(worker, holding, child, next)) parents.push_back(child);
    }
  }
}

// What the worker holds below `id` has a hole before it from now on.
void PrefixTree::OrphanDescendants(WorkerNumber worker, Holding& holding, RecordId id) {
  std::vector<std::pair<RecordId, kv::BlockHash>> below;  // with the parent's hash; parents first
  const auto add_children = [&](RecordId parent) {
    for (RecordId c = records_.at(parent).first_child; c != 0; c = records_.at(c).next) {
      if (WorkerSets::Holds(records_.at(c).holders, worker)) {
        below.emplace_back(c, records_.at(parent).hash);
      }
    }
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

void PrefixTree::CountChild(RecordId parent, WorkerNumber worker) {
  WorkerSet& holders = records_.at(parent).holders;
  if (WorkerSets::Marked(holders, worker)) {
    ++more_children_[ChildrenKey(parent, worker)];
  } else {
    WorkerSets::SetMark(holders, worker, true);
  }
}

void PrefixTree::UncountChild(const BlockRecord& child, WorkerNumber worker) {
  const bool only_child = child.next == 0 && child.previous == 0;
  if (!only_child) {
    auto more = more_children_.find(ChildrenKey(child.parent, worker));
    if (more != more_children_.end()) {
      if (--more->second == 0) more_children_.erase(more);
      return;
    }
  }
  WorkerSets::SetMark(records_.at(child.parent).holders, worker, false);
}

void PrefixTree::Link(RecordId child, RecordId parent) {
  BlockRecord& record = records_.at(child);
  record.parent = parent;
  if (parent == 0) return;
  BlockRecord& above = records_.at(parent);
  record.next = above.first_child;
  if (above.first_child != 0) records_.at(above.first_child).previous = child;
  above.first_child = child;
}

void PrefixTree::FreeRecord(RecordId id) {
  BlockRecord& record = records_.at(id);
  if (record.next != 0) records_.at(record.next).previous = record.previous;
  if (record.previous != 0) {
    records_.at(record.previous).next = record.next;
  } else if (record.parent != 0 && record.parent != kParentGone) {
    records_.at(record.parent).first_child = record.next;
  }
  // Children left are held by workers that are gone, and the sweep has not come to them yet.
  for (RecordId child = record.first_child; child != 0;) {
    BlockRecord& below = records_.at(child);
    child = std::exchange(below.next, 0);
    below.previous = 0;
    below.parent = kParentGone;
  }
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
  return records_.bytes() + map_.bytes() + sets_.bytes() + orphans_total_ * kOrphanBytes +
         more_children_.capacity() * (sizeof(uint64_t) * 2 + 1);
}

}  // namespace baton::router
