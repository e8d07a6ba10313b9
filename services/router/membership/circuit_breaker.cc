#include "services/router/membership/circuit_breaker.h"

#include <algorithm>
#include <utility>

namespace baton::router {

bool CircuitBreaker::Allows(absl::Duration now) const { return !open_ || now >= try_from_; }

void CircuitBreaker::OnPlaced(absl::Duration now) {
  if (!open_) return;
  on_trial_ = true;
  try_from_ = now + options_.trial_max;
}

bool CircuitBreaker::OnSuccess() {
  failures_ = 0;
  // What was placed before it was opened may still succeed; only the trial proves something.
  if (open_ && !on_trial_) return false;
  pause_ = absl::ZeroDuration();
  on_trial_ = false;
  return std::exchange(open_, false);
}

bool CircuitBreaker::OnFailure(int weight, absl::Duration now) {
  failures_ += weight;
  if (open_ && !on_trial_) return false;  // of before
  if (!open_ && failures_ < options_.failures_max) return false;
  Open(now);
  return true;
}

void CircuitBreaker::Open(absl::Duration now) {
  pause_ = std::clamp(pause_ * 2, options_.pause_min, options_.pause_max);
  std::uniform_real_distribution<double> around(1 - options_.jitter, 1 + options_.jitter);
  open_ = true;
  on_trial_ = false;
  try_from_ = now + pause_ * around(random_);
}

}  // namespace baton::router
