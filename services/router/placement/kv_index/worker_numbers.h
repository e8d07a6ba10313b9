#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <optional>
#include <vector>

#include "services/router/placement/kv_index/kv_matches.h"
#include "services/router/placement/kv_index/reader_epochs.h"
#include "services/router/placement/kv_index/worker_set.h"

namespace baton::router {

// Gives seats their numbers. A number whose worker is gone is out of every look-up at once; it is
// given out again when a sweep has taken it out of every record and no reader is left who saw it.
// One writer; the first group from any thread within a visit.
class WorkerNumbers {
 public:
  explicit WorkerNumbers(ReaderEpochs& epochs);

  // Whose words count. A seat that is painted anew is in it under its old number, its new one or
  // both, never under none.
  struct Alive {
    int words;                                   // that hold every number in use
    std::array<uint64_t, kWorkerWordsMax> mask;  // of these words only
  };
  void ReadAlive(Alive& alive) const;
  KvSeat OwnerOf(WorkerNumber number) const {
    const uint64_t owner = owners_[number].load(std::memory_order_acquire);
    return {.index = static_cast<uint32_t>(owner >> 32), .serial = static_cast<uint32_t>(owner)};
  }

  // None left: nothing. Look-ups do not see it before Show.
  std::optional<WorkerNumber> TakeHidden(KvSeat owner);
  // A number that another one replaces is retired after this.
  void Show(WorkerNumber number);
  void Retire(WorkerNumber number);

  // Retired, or not given out again yet.
  bool Untidy() const { return sweeping_ || retired_.size() + unlinked_.size() > 0; }
  // Whom to sweep now. A sweep begins with those no look-up counts as alive any more: else it would
  // take blocks away under one. Null: nobody yet.
  const WorkerMask<kWorkerWordsMax>* Sweeping();
  void EndSweep();
  void Reclaim();

 private:
  ReaderEpochs& epochs_;
  std::atomic<int> words_ = 1;
  std::array<std::atomic<uint64_t>, kWorkerWordsMax> alive_{};
  std::atomic<uint64_t> shown_ = 0;                                // calls of Show
  std::array<std::atomic<uint64_t>, kWorkerNumbersMax> owners_{};  // index << 32 | serial
  int given_out_ = 0;  // numbers below are or were in use
  std::vector<WorkerNumber> free_;
  Unlinked<WorkerNumber> retired_;  // not alive; readers may think so
  bool sweeping_ = false;
  std::vector<WorkerNumber> swept_;
  WorkerMask<kWorkerWordsMax> swept_mask_{};
  Unlinked<WorkerNumber> unlinked_;  // in no record; readers may have seen them there
};

}  // namespace baton::router
