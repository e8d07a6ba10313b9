#include "tests/simulation/clock/process.h"

namespace baton::simulation {

void Process::After(absl::Duration delay, std::string_view label, Work work) {
  queue_.After(delay, label, [self = shared_from_this(), label, work = std::move(work)]() mutable {
    self->Arrive(label, std::move(work));
  });
}

void Process::Arrive(std::string_view label, Work work) {
  if (!alive_) return;
  if (stopped_ || !waiting_.empty()) {
    waiting_.push_back(std::move(work));
  } else {
    work();
  }
}

void Process::Kill() {
  alive_ = false;
  waiting_.clear();
}

void Process::Continue() {
  stopped_ = false;
  queue_.After(absl::ZeroDuration(), "continue", [self = shared_from_this()] { self->WorkOff(); });
}

// One thing per event: each may stop or end the process.
void Process::WorkOff() {
  if (!alive_ || stopped_ || waiting_.empty()) return;
  const Work work = std::move(waiting_.front());
  waiting_.pop_front();
  work();
  queue_.After(absl::ZeroDuration(), "continue", [self = shared_from_this()] { self->WorkOff(); });
}

}  // namespace baton::simulation
