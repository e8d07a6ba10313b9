#pragma once

#include <boost/asio/steady_timer.hpp>
#include <memory>
#include <optional>

#include "absl/time/time.h"

namespace baton::router {

// A deadline that is moved and forgotten many times for each time it passes: the clock underneath
// is set only when it would ring too late, and looks at the deadline when it rings. Belongs to its
// owner, whom a wait keeps alive, and to the owner's loop.
template <typename Owner>
class LazyTimer {
 public:
  using Late = void (Owner::*)();
  template <typename Executor>
  explicit LazyTimer(const Executor& executor) : timer_(executor) {}

  // In place of what was set before.
  void Set(const std::shared_ptr<Owner>& owner, absl::Duration patience, Late late) {
    late_ = late;
    deadline_ = Clock::now() + absl::ToChronoNanoseconds(patience);
    if (!rings_at_ || *rings_at_ > *deadline_) Wait(owner);
  }
  void Forget() { deadline_.reset(); }
  // Lets go of the owner. Nothing is set afterwards.
  void Close() {
    Forget();
    timer_.cancel();
  }

 private:
  using Clock = boost::asio::steady_timer::clock_type;

  void Wait(const std::shared_ptr<Owner>& owner) {
    rings_at_ = deadline_;
    timer_.expires_at(*deadline_);
    timer_.async_wait([this, owner](boost::system::error_code error) {
      if (error || !rings_at_ || Clock::now() < *rings_at_) return;  // another wait is under way
      rings_at_.reset();
      if (!deadline_) return;
      if (Clock::now() < *deadline_) return Wait(owner);
      deadline_.reset();
      ((*owner).*late_)();
    });
  }

  boost::asio::steady_timer timer_;
  Late late_ = nullptr;
  std::optional<Clock::time_point> deadline_;
  std::optional<Clock::time_point> rings_at_;  // of the wait that is under way
};

}  // namespace baton::router
