#include "services/router/placement/kv_index.h"

#include <algorithm>

namespace baton::router {

KvIndex::Outcome KvIndex::Apply(const WorkerId& worker, const engine::KvEvents& events) {
  Holding& holding = HoldingOf(worker);
  if (events.snapshot) {
    Clear(holding);
    holding.awaits_snapshot = false;
  } else if (holding.awaits_snapshot) {
    return Outcome::kIgnored;
  } else if (events.number != std::max<uint64_t>(holding.next_event, 1)) {
    // Also a stream that begins in the middle: what came before is unknown.
    holding.awaits_snapshot = true;
    return Outcome::kGap;
  }
  holding.next_event = events.number + 1;
  // Removed first: within one step a block may be evicted and computed anew.
  for (const auto& hash : events.removed) Drop(holding, hash);
  for (const auto& stored : events.stored) Store(holding, stored.hash);
  return Outcome::kApplied;
}

void KvIndex::Remove(const WorkerId& worker) {
  auto found = holdings_.find(worker);
  if (found == holdings_.end()) return;
  Clear(found->second);
  names_[found->second.number] = WorkerId();
  holdings_.erase(found);
}

absl::flat_hash_map<WorkerId, int32_t> KvIndex::Match(std::span<const kv::BlockHash> prompt) const {
  absl::flat_hash_map<WorkerId, int32_t> matches;
  if (prompt.empty()) return matches;
  auto found = holders_.find(prompt.front());
  if (found == holders_.end()) return matches;
  absl::InlinedVector<WorkerNumber, 2> still = found->second;
  int32_t depth = 1;
  for (; depth < static_cast<int32_t>(prompt.size()) && !still.empty(); ++depth) {
    found = holders_.find(prompt[depth]);
    if (found == holders_.end()) break;
    const auto& next = found->second;
    const auto lost = [&](WorkerNumber number) {
      if (std::find(next.begin(), next.end(), number) != next.end()) return false;
      matches[names_[number]] = depth;
      return true;
    };
    still.erase(std::remove_if(still.begin(), still.end(), lost), still.end());
  }
  for (WorkerNumber number : still) matches[names_[number]] = depth;
  return matches;
}

size_t KvIndex::blocks_of(const WorkerId& worker) const {
  auto found = holdings_.find(worker);
  return found == holdings_.end() ? 0 : found->second.blocks.size();
}

KvIndex::Holding& KvIndex::HoldingOf(const WorkerId& worker) {
  auto [entry, fresh] = holdings_.try_emplace(worker);
  if (fresh) {
    auto free = std::find(names_.begin(), names_.end(), WorkerId());
    entry->second.number = static_cast<WorkerNumber>(free - names_.begin());
    if (free == names_.end()) names_.emplace_back();
    names_[entry->second.number] = worker;
  }
  return entry->second;
}

void KvIndex::Store(Holding& holding, const kv::BlockHash& hash) {
  if (holding.blocks.insert(hash).second) holders_[hash].push_back(holding.number);
}

void KvIndex::Drop(Holding& holding, const kv::BlockHash& hash) {
  if (holding.blocks.erase(hash) > 0) DropHolder(hash, holding.number);
}

void KvIndex::DropHolder(const kv::BlockHash& hash, WorkerNumber number) {
  auto found = holders_.find(hash);
  auto& numbers = found->second;
  numbers.erase(std::find(numbers.begin(), numbers.end(), number));
  if (numbers.empty()) holders_.erase(found);
}

void KvIndex::Clear(Holding& holding) {
  for (const auto& hash : holding.blocks) DropHolder(hash, holding.number);
  holding.blocks.clear();
}

}  // namespace baton::router
