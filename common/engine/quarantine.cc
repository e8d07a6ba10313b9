#include "common/engine/quarantine.h"

namespace baton::engine {

void Quarantine::Hold(uint64_t epoch, std::vector<BlockId> blocks, absl::Duration now) {
  if (blocks.empty()) return;
  held_[epoch] = std::move(blocks);
  waiting_.push_back({epoch, now + patience_});
  num_epochs_.store(held_.size());
}

void Quarantine::End(uint64_t epoch) {
  const auto held = held_.find(epoch);
  if (held == held_.end()) return;
  std::vector<BlockId> spares;
  for (BlockId block : held->second) {
    pool_.EndQuarantine(block);
    if (pool_.state(block) == kv::BlockState::kSpare) spares.push_back(block);
  }
  Drop(spares);  // late writes may have brought their memory back
  held_.erase(held);
  num_epochs_.store(held_.size());
}

void Quarantine::Replace(absl::Duration now) {
  for (; !waiting_.empty() && waiting_.front().due <= now; waiting_.pop_front()) {
    const auto held = held_.find(waiting_.front().epoch);
    if (held != held_.end() && !ReplaceAll(held->second)) return;
  }
}

bool Quarantine::ReplaceAll(std::span<const BlockId> blocks) {
  bool enough = true;
  std::vector<BlockId> replaced;
  for (BlockId block : blocks) {
    if (pool_.state(block) == kv::BlockState::kReplaced) continue;
    enough = pool_.Replace(block);
    if (!enough) break;
    replaced.push_back(block);
  }
  Drop(replaced);
  return enough;
}

absl::Duration Quarantine::next_replacement() const {
  const bool nothing_to_do = waiting_.empty() || pool_.counters().spare == 0;
  return nothing_to_do ? absl::InfiniteDuration() : waiting_.front().due;
}

void Quarantine::Drop(std::span<const BlockId> blocks) const {
  if (drop_memory_ && !blocks.empty()) drop_memory_(blocks);
}

}  // namespace baton::engine
