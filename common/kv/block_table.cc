#include "common/kv/block_table.h"

#include <algorithm>
#include <utility>

#include "common/base/check.h"

namespace baton::kv {

BlockTable::~BlockTable() { CHECK(ids_.empty(), "{} blocks leak with their table", ids_.size()); }

BlockTable::BlockTable(BlockTable&& other) noexcept
    : space_(other.space_),
      ids_(std::exchange(other.ids_, {})),
      hashes_(std::exchange(other.hashes_, {})),
      num_committed_(std::exchange(other.num_committed_, 0)) {}

std::vector<BlockId> BlockTable::Slice(int32_t first, int32_t last) const {
  CHECK(first >= 0 && first <= last && last <= num_blocks(), "blocks [{}, {}) of {}", first, last,
        num_blocks());
  std::vector<BlockId> slice;
  slice.reserve(last - first);
  for (int32_t i = first; i < last; ++i) slice.push_back(BlockId(ids_[i]));
  return slice;
}

PrefixCache::Found BlockTable::Probe(std::span<const int32_t> tokens, int32_t blocks_max) {
  if (space_->cache == nullptr) return {};
  return space_->cache->Probe(Hashes(tokens, blocks_max));
}

int32_t BlockTable::TakePrefix(std::span<const int32_t> tokens, int32_t blocks_max) {
  CHECK(ids_.empty(), "a prefix after {} blocks", ids_.size());
  if (space_->cache == nullptr) return 0;
  for (const BlockHash& hash : Hashes(tokens, blocks_max)) {
    const auto block = space_->cache->Find(hash);
    if (!block) break;
    space_->pool.Reference(*block);
    ids_.push_back(block->value());
  }
  num_committed_ = num_blocks();
  return num_blocks();
}

bool BlockTable::GrowTo(int32_t num_blocks_wanted) {
  if (num_blocks_wanted - num_blocks() > space_->pool.allocatable()) return false;
  while (num_blocks() < num_blocks_wanted) {
    const auto block = space_->pool.Allocate();
    CHECK(block.has_value(), "allocatable() promised a block");
    ids_.push_back(block->value());
  }
  return true;
}

void BlockTable::Commit(std::span<const int32_t> tokens, int32_t num_computed) {
  const int32_t num_full = num_computed / space_->block_tokens;
  CHECK(num_full <= num_blocks() && num_computed <= static_cast<int32_t>(tokens.size()),
        "{} tokens computed of {} in {} blocks", num_computed, tokens.size(), num_blocks());
  if (space_->cache == nullptr || num_full <= num_committed_) return;
  const std::span<const BlockHash> hashes = Hashes(tokens, num_full);
  for (; num_committed_ < num_full; ++num_committed_) {
    const BlockHash parent = num_committed_ == 0 ? BlockHash{} : hashes[num_committed_ - 1];
    space_->cache->Insert(hashes[num_committed_], parent, BlockId(ids_[num_committed_]));
  }
}

void BlockTable::Release() { ReleaseAndQuarantine(num_blocks()); }

std::vector<BlockId> BlockTable::ReleaseAndQuarantine(int32_t first) {
  std::vector<BlockId> quarantined = Slice(std::min(first, num_blocks()), num_blocks());
  for (; num_blocks() > 0; ids_.pop_back()) {
    const BlockId block(ids_.back());
    if (num_blocks() > first) {
      space_->pool.Quarantine(block);
    } else {
      space_->pool.Release(block);
    }
  }
  num_committed_ = 0;
  return quarantined;
}

std::span<const BlockHash> BlockTable::Hashes(std::span<const int32_t> tokens, int32_t num_blocks) {
  const size_t block_tokens = space_->block_tokens;
  CHECK(num_blocks * block_tokens <= tokens.size(), "{} full blocks in {} tokens", num_blocks,
        tokens.size());
  while (hashes_.size() < static_cast<size_t>(num_blocks)) {
    const BlockHash parent = hashes_.empty() ? BlockHash{} : hashes_.back();
    hashes_.push_back(
        space_->hasher.Next(parent, tokens.subspan(hashes_.size() * block_tokens, block_tokens)));
  }
  return std::span(hashes_).first(num_blocks);
}

}  // namespace baton::kv
