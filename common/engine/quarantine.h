#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <span>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/time/time.h"
#include "common/kv/block_pool.h"

namespace baton::engine {

// Blocks that a remote prefill may still write to although nobody wants them any more, by epoch.
// They are of no use until that epoch is known to be over; when that lasts longer than `patience`,
// the pool's spares take their places, as far as there are any. Engine thread only, num_epochs()
// from any thread.
class Quarantine {
 public:
  // Gives the memory behind blocks that are out of use back, where that can be done; may be null.
  using DropMemory = std::function<void(std::span<const BlockId>)>;

  Quarantine(kv::BlockPool& pool, absl::Duration patience, DropMemory drop_memory)
      : pool_(pool), patience_(patience), drop_memory_(std::move(drop_memory)) {}

  // The blocks are quarantined in the pool already.
  void Hold(uint64_t epoch, std::vector<BlockId> blocks, absl::Duration now);
  // No write of `epoch` can land any more. Unknown epochs are ignored.
  void End(uint64_t epoch);
  // Replaces what has been held for longer than `patience`, as far as there are spares.
  void Replace(absl::Duration now);
  // When Replace() will have something to do, monotonic.
  absl::Duration next_replacement() const;
  size_t num_epochs() const { return num_epochs_.load(); }

 private:
  struct Waiting {
    uint64_t epoch = 0;
    absl::Duration due;
  };
  bool ReplaceAll(std::span<const BlockId> blocks);  // false: there were not enough spares
  void Drop(std::span<const BlockId> blocks) const;

  kv::BlockPool& pool_;
  const absl::Duration patience_;
  const DropMemory drop_memory_;
  absl::flat_hash_map<uint64_t, std::vector<BlockId>> held_;
  std::deque<Waiting> waiting_;  // in the order of `due`; epochs that have ended are left in it
  std::atomic<size_t> num_epochs_ = 0;
};

}  // namespace baton::engine
