#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/engine/observer.h"
#include "common/kv/block_hash.h"
#include "services/router/placement/kv_index/branch_hints.h"
#include "services/router/placement/kv_index/expected_prompts.h"
#include "services/router/placement/kv_index/kv_matches.h"
#include "services/router/placement/kv_index/prefix_tree.h"
#include "services/router/placement/kv_index/reader_epochs.h"
#include "services/router/placement/kv_index/worker_numbers.h"

namespace baton::router {

// Which worker's prefix cache holds which block: for a prompt, exactly how many leading blocks each
// worker holds, and on whom an equal prompt was placed a moment ago. Fed by each worker's ordered
// events; a gap in their numbers is answered by a snapshot. Hashes are keyed with model, adapter
// and tenant, so one index serves all and prompts of different keys never meet.
//
// Thread-safe. Look-ups take no lock and wait for nobody; events take turns.
class KvIndex {
 public:
  struct Options {
    size_t blocks_max = size_t{1} << 24;  // different blocks; what does not fit is not known
    size_t expected_slots = 1 << 16;
    absl::Duration expected_life = absl::Seconds(2);
    size_t sweep_records_per_lock = 4096;
  };
  enum class Outcome {
    kApplied,
    kGap,      // ask for a snapshot; said once per gap
    kIgnored,  // waiting for that snapshot, or nobody's seat
  };
  struct Counters {
    size_t blocks = 0;   // different ones
    size_t orphans = 0;  // (block, worker) pairs behind a hole: useless until it is filled
    uint64_t refused = 0;
    size_t bytes = 0;
  };

  KvIndex() : KvIndex(Options()) {}
  explicit KvIndex(const Options& options);

  // A worker with an empty cache.
  KvSeat Join() ABSL_LOCKS_EXCLUDED(mutex_);
  // It is in no look-up that begins later; its blocks are taken out bit by bit, by Tidy.
  void Leave(const KvSeat& seat) ABSL_LOCKS_EXCLUDED(mutex_);
  // Look-ups see a snapshot as a whole: before it the old picture, after it the new one. (A
  // worker's first one they see grow.)
  Outcome Apply(const KvSeat& seat, const engine::KvEvents& events) ABSL_LOCKS_EXCLUDED(mutex_);

  // This prompt was placed on this worker.
  void Expect(const KvSeat& seat, std::span<const kv::BlockHash> prompt, absl::Duration now) {
    expected_.Expect(seat, prompt, now, options_.expected_life);
  }
  // Replaces what is in `matches`. Lock-free.
  void Match(std::span<const kv::BlockHash> prompt, absl::Duration now, KvMatches& matches) const;

  // Takes out blocks of workers that left, about `records_max` records per call. Called now and
  // then, by one thread at a time; false: nothing left to do.
  bool Tidy(size_t records_max) ABSL_LOCKS_EXCLUDED(mutex_);

  size_t blocks_of(const KvSeat& seat) const ABSL_LOCKS_EXCLUDED(mutex_);
  Counters counters() const ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  struct Stream {
    uint32_t serial = 0;  // 0: the seat is free
    std::optional<WorkerNumber> number;
    uint64_t next_event = 0;  // 0: none seen yet
    bool awaits_snapshot = false;
    bool touched = false;  // its number has been written under
  };
  Stream* StreamOf(const KvSeat& seat) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Retire(Stream& stream) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Reclaim() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const Options options_;
  mutable absl::Mutex mutex_;  // the writer's role; look-ups read the next four without it
  ReaderEpochs epochs_;
  PrefixTree tree_;
  WorkerNumbers numbers_;
  BranchHints hints_;
  ExpectedPrompts expected_;
  std::vector<Stream> streams_ ABSL_GUARDED_BY(mutex_);  // by seat index
  std::vector<uint32_t> free_seats_ ABSL_GUARDED_BY(mutex_);
  uint32_t next_serial_ ABSL_GUARDED_BY(mutex_) = 1;
  RecordId sweep_next_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace baton::router
