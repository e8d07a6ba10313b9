#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "common/base/status.h"

namespace baton::worker {

// Which epochs of which callers are under way, and which may not begin any more because somebody
// was told they are over. Thread-safe.
class EpochBook {
 public:
  // Per caller; epochs of one caller rise, so that the oldest are forgotten first.
  static constexpr size_t kFencedMax = 4096;

  // FAILED_PRECONDITION when the epoch was fenced already, ALREADY_EXISTS when it is under way.
  // `local_epoch` is this worker's own name for it.
  absl::Status Begin(const std::string& caller, uint64_t epoch, uint64_t local_epoch);
  // No write of it is under way any more: runs what waits for it.
  void End(const std::string& caller, uint64_t epoch);
  // The epoch must not begin any more. Runs `over` once it is over (at once if it is not under way)
  // and returns its local name if it has to be stopped first.
  std::optional<uint64_t> Fence(const std::string& caller, uint64_t epoch,
                                std::function<void()> over);

 private:
  struct Running {
    uint64_t local_epoch = 0;
    std::vector<std::function<void()>> waiting;
  };
  using Key = std::pair<std::string, uint64_t>;

  absl::Mutex mutex_;
  std::map<Key, Running> running_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, std::set<uint64_t>> fenced_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace baton::worker
