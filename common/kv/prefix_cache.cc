#include "common/kv/prefix_cache.h"

#include "common/base/check.h"

namespace baton::kv {

PrefixCache::PrefixCache(BlockPool& pool) : pool_(pool), names_(pool.num_ids()) {
  pool_.set_eviction_listener([this](BlockId block) { OnEvicted(block); });
}

PrefixCache::Found PrefixCache::Probe(std::span<const BlockHash> hashes) const {
  Found found;
  for (const BlockHash& hash : hashes) {
    const auto entry = entries_.find(hash);
    if (entry == entries_.end()) break;
    ++found.blocks;
    if (pool_.state(entry->second.block) == BlockState::kCached) ++found.cached_blocks;
  }
  return found;
}

std::optional<BlockId> PrefixCache::Find(const BlockHash& hash) const {
  const auto entry = entries_.find(hash);
  if (entry == entries_.end()) return std::nullopt;
  return entry->second.block;
}

bool PrefixCache::Insert(const BlockHash& hash, const BlockHash& parent, BlockId block) {
  const auto [entry, inserted] = entries_.try_emplace(hash, Entry{block, parent});
  if (!inserted) {
    CHECK(entry->second.parent == parent, "one hash with two parents");
    return false;
  }
  pool_.Name(block);
  names_[block.value()] = hash;
  Touch(hash, false);
  return true;
}

PrefixCache::Changes PrefixCache::TakeChanges() {
  Changes changes;
  for (const BlockHash& hash : touched_order_) {
    const bool held_before = touched_.at(hash);
    const auto entry = entries_.find(hash);
    const bool held = entry != entries_.end();
    if (held && !held_before) changes.stored.push_back({hash, entry->second.parent});
    if (!held && held_before) changes.removed.push_back(hash);
  }
  touched_.clear();
  touched_order_.clear();
  return changes;
}

std::vector<PrefixCache::Stored> PrefixCache::Snapshot() const {
  std::vector<Stored> all;
  all.reserve(entries_.size());
  for (const auto& [hash, entry] : entries_) all.push_back({hash, entry.parent});
  return all;
}

void PrefixCache::OnEvicted(BlockId block) {
  const BlockHash hash = names_[block.value()];
  const auto entry = entries_.find(hash);
  CHECK(entry != entries_.end() && entry->second.block == block, "block {} evicted under no name",
        block.value());
  entries_.erase(entry);
  Touch(hash, true);
}

void PrefixCache::Touch(const BlockHash& hash, bool held_before) {
  if (touched_.try_emplace(hash, held_before).second) touched_order_.push_back(hash);
}

}  // namespace baton::kv
