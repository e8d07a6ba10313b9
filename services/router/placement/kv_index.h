#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/container/inlined_vector.h"
#include "common/base/strong_id.h"
#include "common/engine/observer.h"
#include "common/kv/block_hash.h"

namespace baton::router {

// Which worker's prefix cache holds which block. Fed by each worker's ordered events; a gap in
// their numbers makes that worker's entries stale until a snapshot replaces them. Hashes are salted
// with model and tenant, so one index serves all. Single-threaded plain data: the roster guards it.
class KvIndex {
 public:
  enum class Outcome {
    kApplied,
    kGap,      // ask for a snapshot; said once per gap
    kIgnored,  // waiting for that snapshot
  };
  Outcome Apply(const WorkerId& worker, const engine::KvEvents& events);
  // Forgets everything about a worker.
  void Remove(const WorkerId& worker);

  // Leading blocks of `prompt` (hashes, first block first) that each worker holds; workers with
  // none are absent.
  absl::flat_hash_map<WorkerId, int32_t> Match(std::span<const kv::BlockHash> prompt) const;

  size_t num_blocks() const { return holders_.size(); }
  size_t blocks_of(const WorkerId& worker) const;

 private:
  // Workers get small numbers, given out again after Remove.
  using WorkerNumber = uint32_t;
  struct Holding {
    WorkerNumber number = 0;
    uint64_t next_event = 0;  // 0: none seen yet
    bool awaits_snapshot = false;
    absl::flat_hash_set<kv::BlockHash> blocks;
  };
  Holding& HoldingOf(const WorkerId& worker);
  void Store(Holding& holding, const kv::BlockHash& hash);
  void Drop(Holding& holding, const kv::BlockHash& hash);
  void DropHolder(const kv::BlockHash& hash, WorkerNumber number);
  void Clear(Holding& holding);

  absl::flat_hash_map<WorkerId, Holding> holdings_;
  std::vector<WorkerId> names_;  // by WorkerNumber; empty: free
  absl::flat_hash_map<kv::BlockHash, absl::InlinedVector<WorkerNumber, 2>> holders_;
};

}  // namespace baton::router
