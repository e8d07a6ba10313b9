#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "common/transfer/nccl/pair_link.h"

namespace baton::transfer::testing {

// NCCL between the transports of one process, as unhelpful as the real one: a send is over when its
// bytes are on their way, they land as long as the receiving side has not ended, and neither side
// ever notices that the other has gone. Outlives its links; memory lives as long as this, so that a
// late write is a wrong byte that a test can see. Thread-safe.
class FakeNccl {
 public:
  std::unique_ptr<PairLinks> MakeLinks();

  // Nothing lands any more; with `after_pieces` so many more do.
  void Hold(uint64_t after_pieces = 0);
  // The same, and whoever receives hangs in it, as a process does that is stopped.
  void Freeze(uint64_t after_pieces = 0);
  void Release();
  // Sleeps until a piece is on its way and held.
  void AwaitHeldPiece();
  // Joining fails from now on.
  void RefuseToJoin();
  int live_links() const;

 private:
  friend class FakeLink;
  friend class FakeLinks;
  struct Pair {
    bool joined[2] = {false, false};
    std::deque<std::vector<std::byte>> on_their_way;
  };
  bool MayLand() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  mutable absl::Mutex mutex_;
  uint64_t last_id_ ABSL_GUARDED_BY(mutex_) = 0;
  std::map<std::string, std::shared_ptr<Pair>> pairs_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::unique_ptr<std::byte[]>> memory_ ABSL_GUARDED_BY(mutex_);
  bool holds_ ABSL_GUARDED_BY(mutex_) = false;
  bool freezes_ ABSL_GUARDED_BY(mutex_) = false;
  uint64_t pieces_until_hold_ ABSL_GUARDED_BY(mutex_) = 0;
  bool held_ ABSL_GUARDED_BY(mutex_) = false;
  bool refuses_ ABSL_GUARDED_BY(mutex_) = false;
  int live_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace baton::transfer::testing
