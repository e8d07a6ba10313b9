#pragma once

#include <atomic>
#include <cstdint>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "common/kv/block_pool.h"

namespace baton::engine {

// Blocks that a remote prefill may still write to although nobody wants them any more, by epoch.
// They are of no use until that epoch is known to be over. Engine thread only, num_epochs() from
// any thread.
class Quarantine {
 public:
  explicit Quarantine(kv::BlockPool& pool) : pool_(pool) {}

  // The blocks are quarantined in the pool already.
  void Hold(uint64_t epoch, std::vector<BlockId> blocks) {
    if (blocks.empty()) return;
    held_[epoch] = std::move(blocks);
    num_epochs_.store(held_.size());
  }
  // No write of `epoch` can land any more. Unknown epochs are ignored.
  void End(uint64_t epoch) {
    const auto held = held_.find(epoch);
    if (held == held_.end()) return;
    for (BlockId block : held->second) pool_.EndQuarantine(block);
    held_.erase(held);
    num_epochs_.store(held_.size());
  }
  size_t num_epochs() const { return num_epochs_.load(); }

 private:
  kv::BlockPool& pool_;
  absl::flat_hash_map<uint64_t, std::vector<BlockId>> held_;
  std::atomic<size_t> num_epochs_ = 0;
};

}  // namespace baton::engine
