#include "services/planner/doors/plan_board.h"

#include <utility>

namespace baton::planner {

void PlanBoard::Publish(Standing standing) {
  absl::MutexLock lock(&mutex_);
  latest_ = std::move(standing);
  ++version_;
}

std::optional<Standing> PlanBoard::Latest() const {
  absl::MutexLock lock(&mutex_);
  return latest_;
}

absl::StatusOr<int32_t> PlanBoard::Answer(Pool pool) const {
  const absl::Duration now = clock_.Monotonic();
  absl::MutexLock lock(&mutex_);
  if (!latest_) return Unavailable("no router has answered yet");
  if (now - latest_->at > options_.stale_after) {
    return Unavailable("no router has answered for {:.0f} s",
                       absl::ToDoubleSeconds(now - latest_->at));
  }
  if (!options_.dry_run) return latest_->plan.of(pool).desired;
  const Picture& picture = latest_->picture;
  return pool == Pool::kPrefill ? picture.prefill.present : picture.decode.present;
}

uint64_t PlanBoard::version() const {
  absl::MutexLock lock(&mutex_);
  return version_;
}

void PlanBoard::AwaitChange(uint64_t seen, absl::Duration patience) const {
  absl::MutexLock lock(&mutex_);
  const auto changed = [this, seen]()
                           ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return version_ != seen; };
  mutex_.AwaitWithTimeout(absl::Condition(&changed), patience);
}

void PlanBoard::Close() {
  absl::MutexLock lock(&mutex_);
  closed_ = true;
  ++version_;
}

bool PlanBoard::closed() const {
  absl::MutexLock lock(&mutex_);
  return closed_;
}

}  // namespace baton::planner
