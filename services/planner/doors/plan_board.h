#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/base/clock.h"
#include "common/base/status.h"
#include "services/planner/sizing/planner.h"

namespace baton::planner {

// One plan with what it was made from.
struct Standing {
  Plan plan;
  Picture picture;
  int routers_answered = 0, routers_failed = 0;
  absl::Duration at;  // monotonic
  absl::Time wall;
};

// Where the latest plan hangs for all who ask. Thread-safe.
class PlanBoard {
 public:
  struct Options {
    absl::Duration stale_after = absl::Minutes(1);
    bool dry_run = false;
  };
  PlanBoard(const Options& options, const Clock& clock) : options_(options), clock_(clock) {}

  void Publish(Standing standing);
  // Nothing yet: nullopt.
  std::optional<Standing> Latest() const;
  bool dry_run() const { return options_.dry_run; }

  // How many workers a scaler is told that there should be: as planned; in a dry run as there are.
  // UNAVAILABLE while no plan has been made from what a router said in `stale_after`.
  absl::StatusOr<int32_t> Answer(Pool pool) const;
  // Grows with every Publish() and with Close().
  uint64_t version() const;
  // Until it is another one than `seen`, or `patience` is over.
  void AwaitChange(uint64_t seen, absl::Duration patience) const;
  // Nobody waits any more.
  void Close();
  bool closed() const;

 private:
  const Options options_;
  const Clock& clock_;
  mutable absl::Mutex mutex_;
  std::optional<Standing> latest_ ABSL_GUARDED_BY(mutex_);
  uint64_t version_ ABSL_GUARDED_BY(mutex_) = 0;
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace baton::planner
