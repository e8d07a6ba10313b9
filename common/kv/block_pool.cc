#include "common/kv/block_pool.h"

#include <utility>

#include "common/base/check.h"

//             Allocate                    Name, then Release (last)
//   kFree ---------------> kActive ------------------------------> kCached
//     ^ ^                  |  |  ^                                  |   |
//     | +---Release (last)-+  |  +------------Reference-------------+   |
//     |                       | Quarantine                              | Allocate (evicts:
//     |                       v                                         v  the name is gone)
//     +---EndQuarantine-- kQuarantined                               kActive
//
//   kQuarantined --Replace--> kReplaced --EndQuarantine--> kSpare --(another's Replace)--> kFree

namespace baton::kv {

BlockPool::BlockPool(int32_t num_blocks, int32_t num_spares) {
  CHECK(num_blocks > 0 && num_spares >= 0, "a pool of {} blocks and {} spares", num_blocks,
        num_spares);
  blocks_.resize(num_blocks + num_spares);
  free_.reserve(num_blocks);
  for (int32_t i = num_blocks - 1; i >= 0; --i) free_.push_back(i);
  for (int32_t i = num_ids() - 1; i >= num_blocks; --i) {
    blocks_[i].state = BlockState::kSpare;
    spares_.push_back(i);
  }
  counters_.total = num_blocks;
  counters_.free = num_blocks;
  counters_.spare = num_spares;
}

void BlockPool::set_eviction_listener(std::function<void(BlockId)> listener) {
  eviction_listener_ = std::move(listener);
}

std::optional<BlockId> BlockPool::Allocate() {
  BlockId id;
  if (!free_.empty()) {
    id = BlockId(free_.back());
    free_.pop_back();
  } else if (oldest_ >= 0) {
    id = BlockId(oldest_);
    Unlink(id);
    if (eviction_listener_) eviction_listener_(id);
    at(id).named = false;
    ++counters_.evictions;
  } else {
    return std::nullopt;
  }
  Block& block = at(id);
  CHECK(block.references == 0 && block.pins == 0, "block {} was in use", id.value());
  block.references = 1;
  Move(block, BlockState::kActive);
  return id;
}

void BlockPool::Reference(BlockId id) {
  Block& block = at(id);
  CHECK(block.state == BlockState::kActive || block.state == BlockState::kCached,
        "block {} is neither active nor cached", id.value());
  if (block.state == BlockState::kCached) {
    if (block.pins == 0) Unlink(id);
    Move(block, BlockState::kActive);
  }
  ++block.references;
}

void BlockPool::Release(BlockId id) {
  Block& block = at(id);
  CHECK(block.state == BlockState::kActive && block.references > 0, "block {} released too often",
        id.value());
  if (--block.references > 0) return;
  if (block.named) {
    Move(block, BlockState::kCached);
    if (block.pins == 0) AddNewest(id);
  } else {
    Move(block, BlockState::kFree);
    free_.push_back(id.value());
  }
}

void BlockPool::Name(BlockId id) {
  Block& block = at(id);
  CHECK(block.state == BlockState::kActive && !block.named, "block {} cannot be named", id.value());
  block.named = true;
}

void BlockPool::Quarantine(BlockId id) {
  Block& block = at(id);
  CHECK(block.state == BlockState::kActive && block.references == 1 && !block.named,
        "block {} has {} references and {} name: others would read what a stale write leaves",
        id.value(), block.references, block.named ? "a" : "no");
  block.references = 0;
  Move(block, BlockState::kQuarantined);
}

void BlockPool::EndQuarantine(BlockId id) {
  Block& block = at(id);
  CHECK(block.state == BlockState::kQuarantined || block.state == BlockState::kReplaced,
        "block {} is not quarantined", id.value());
  const bool replaced = block.state == BlockState::kReplaced;
  Move(block, replaced ? BlockState::kSpare : BlockState::kFree);
  (replaced ? spares_ : free_).push_back(id.value());
}

bool BlockPool::Replace(BlockId id) {
  Block& block = at(id);
  CHECK(block.state == BlockState::kQuarantined, "block {} is not quarantined", id.value());
  if (spares_.empty()) return false;
  const int32_t spare = spares_.back();
  spares_.pop_back();
  Move(block, BlockState::kReplaced);
  Move(blocks_[spare], BlockState::kFree);
  free_.push_back(spare);
  return true;
}

void BlockPool::Pin(BlockId id) {
  Block& block = at(id);
  CHECK(block.named, "block {} has no name to keep", id.value());
  if (block.pins++ == 0 && block.state == BlockState::kCached) Unlink(id);
}

void BlockPool::Unpin(BlockId id) {
  Block& block = at(id);
  CHECK(block.pins > 0, "block {} is not pinned", id.value());
  if (--block.pins == 0 && block.state == BlockState::kCached) AddNewest(id);
}

BlockPool::Block& BlockPool::at(BlockId id) {
  CHECK(id.value() >= 0 && id.value() < num_ids(), "block {} of {}", id.value(), num_ids());
  return blocks_[id.value()];
}

const BlockPool::Block& BlockPool::at(BlockId id) const {
  return const_cast<BlockPool*>(this)->at(id);
}

int32_t& BlockPool::CountOf(BlockState state) {
  switch (state) {
    case BlockState::kFree:
      return counters_.free;
    case BlockState::kCached:
      return counters_.cached;
    case BlockState::kActive:
      return counters_.active;
    case BlockState::kQuarantined:
      return counters_.quarantined;
    case BlockState::kReplaced:
      return counters_.replaced;
    case BlockState::kSpare:
      return counters_.spare;
  }
  CHECK(false, "no such state");
  return counters_.free;
}

void BlockPool::Move(Block& block, BlockState to) {
  --CountOf(block.state);
  ++CountOf(to);
  block.state = to;
}

void BlockPool::AddNewest(BlockId id) {
  Block& block = at(id);
  block.older = newest_;
  block.newer = -1;
  (newest_ >= 0 ? blocks_[newest_].newer : oldest_) = id.value();
  newest_ = id.value();
  ++evictable_;
}

void BlockPool::Unlink(BlockId id) {
  Block& block = at(id);
  (block.older >= 0 ? blocks_[block.older].newer : oldest_) = block.newer;
  (block.newer >= 0 ? blocks_[block.newer].older : newest_) = block.older;
  block.older = block.newer = -1;
  --evictable_;
}

}  // namespace baton::kv
