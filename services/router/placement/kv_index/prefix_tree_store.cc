#include <algorithm>
#include <array>

#include "services/router/placement/kv_index/prefix_tree.h"

// Storing: what a step of an engine computed is mostly one chain behind a block that its worker
// holds. Such runs go fast; whatever is different about a block goes the careful way, by itself.
namespace baton::router {
namespace {

constexpr kv::BlockHash kNoBlock;

}  // namespace

void PrefixTree::Store(WorkerNumber worker, std::span<const engine::KvEvents::Stored> blocks) {
  Holding& holding = HoldingOf(worker);
  while (!blocks.empty()) {
    size_t done = 0;
    if (holding.orphans.empty()) {
      const size_t run = std::min<size_t>(blocks.size(), BlockMap::kRoomMax);
      done = StoreRun(worker, holding, blocks.first(run));
    }
    if (done == 0) {
      StoreOne(worker, holding, blocks.front());
      done = 1;
    }
    blocks = blocks.subspan(done);
  }
}

// As many blocks from the first on as are known to the worker already or follow what it holds
// completely. Memory is waited for by all of them together: first slots, then records. Requires
// that the worker has no orphans.
size_t PrefixTree::StoreRun(WorkerNumber worker, Holding& holding,
                            std::span<const engine::KvEvents::Stored> run) {
  map_.MakeRoom(static_cast<uint32_t>(run.size()));
  std::array<BlockMap::Aim, BlockMap::kRoomMax> aims;
  for (size_t i = 0; i < run.size(); ++i) aims[i] = map_.AimAt(run[i].hash);
  records_.Prefetch(run.size());
  for (size_t i = 0; i < run.size(); ++i) map_.PrefetchRecord(aims[i]);
  RecordId fresh = 0;  // the block before, when nobody knew it: this worker's alone, and a leaf
  for (size_t i = 0; i < run.size(); ++i) {
    const kv::BlockHash& hash = run[i].hash;
    const bool behind_fresh = fresh != 0 && run[i].parent == run[i - 1].hash;
    RecordId parent = behind_fresh ? fresh : 0;
    if (!behind_fresh && run[i].parent != kNoBlock) {
      parent = FindParent(run[i].parent);
      if (parent == kParentGone || !WorkerSets::Holds(records_.at(parent).holders, worker)) {
        return i;
      }
    }
    RecordId id = behind_fresh ? 0 : OnlyChildOfRecent(hash, run[i].parent);
    if (id == 0) {
      const BlockMap::Place place = map_.Locate(aims[i], hash);
      id = place.id;
      if (id == 0) {
        id = records_.Allocate(hash);
        if (id == 0) return i;
        map_.Put(place, id);
        if (behind_fresh) {
          EnterBehindLeaf(worker, holding, id, parent);
        } else {
          Enter(worker, holding, id, parent, true);
        }
        fresh = id;
        continue;
      }
    }
    fresh = 0;
    const BlockRecord& record = records_.at(id);
    if (!WorkerSets::Holds(record.holders, worker)) {
      if (record.parent != parent) return i;
      Enter(worker, holding, id, parent, false);
    }
    recent_ = id;
  }
  return run.size();
}

void PrefixTree::StoreOne(WorkerNumber worker, Holding& holding,
                          const engine::KvEvents::Stored& block) {
  if (!holding.orphans.empty() && holding.orphans.Has(block.hash)) return;
  if (!TakeIn(worker, holding, block.hash, block.parent)) return;
  if (!holding.orphans.empty()) Adopt(worker, holding, block.hash);
}

// True: the worker holds it completely, and did not before.
bool PrefixTree::TakeIn(WorkerNumber worker, Holding& holding, const kv::BlockHash& hash,
                        const kv::BlockHash& parent) {
  map_.MakeRoom(1);
  const BlockMap::Place place = map_.Locate(map_.AimAt(hash), hash);
  RecordId id = place.id;
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
  Enter(worker, holding, id, parent_id, unlinked);
  return true;
}

// The worker becomes a holder of the record. Requires that it is none, and holds the parent.
inline void PrefixTree::Enter(WorkerNumber worker, Holding& holding, RecordId id, RecordId parent,
                              bool unlinked) {
  BlockRecord& record = records_.at(id);
  if (unlinked) {
    record.parent = parent;
    if (parent != 0) siblings_.Add(parent, id);
  }
  sets_.Insert(record.holders, worker);
  if (parent != 0) CountChild(parent, worker);
  ++holding.complete;
  recent_ = id;
}

// The same, for a new record behind one that only this worker holds and that has no child.
inline void PrefixTree::EnterBehindLeaf(WorkerNumber worker, Holding& holding, RecordId id,
                                        RecordId parent) {
  BlockRecord& record = records_.at(id);
  BlockRecord& above = records_.at(parent);
  record.parent = parent;
  above.first_child = id;
  WorkerSets::SetOnlyMember(record.holders, worker, false);
  WorkerSets::SetOnlyMember(above.holders, worker, true);
  ++holding.complete;
  recent_ = id;
}

// A chain that another worker has stored already is followed link by link, past the map. 0: look
// there.
inline RecordId PrefixTree::OnlyChildOfRecent(const kv::BlockHash& hash,
                                              const kv::BlockHash& parent) const {
  if (recent_ == 0) return 0;
  const BlockRecord& recent = records_.at(recent_);
  const RecordId child = Siblings::First(recent);
  if (child == 0 || recent.hash != parent) return 0;
  return records_.at(child).hash == hash ? child : 0;
}

inline RecordId PrefixTree::FindParent(const kv::BlockHash& parent) const {
  if (recent_ != 0 && records_.at(recent_).hash == parent) return recent_;
  const RecordId id = map_.Find(parent);
  return id == 0 ? kParentGone : id;
}

inline void PrefixTree::CountChild(RecordId parent, WorkerNumber worker) {
  WorkerSet& holders = records_.at(parent).holders;
  if (WorkerSets::Marked(holders, worker)) {
    ++more_children_[ChildrenKey(parent, worker)];
  } else {
    WorkerSets::SetMark(holders, worker, true);
  }
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

void PrefixTree::AddOrphan(Holding& holding, const kv::BlockHash& hash,
                           const kv::BlockHash& parent) {
  if (orphans_total_ >= records_.records_max()) {
    ++refused_;
    return;
  }
  holding.orphans.Add(hash, parent);
  ++orphans_total_;
}

}  // namespace baton::router
