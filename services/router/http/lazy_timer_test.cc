#include "services/router/http/lazy_timer.h"

#include <boost/asio/io_context.hpp>

#include "gtest/gtest.h"

namespace baton::router {
namespace {

namespace asio = boost::asio;
using SteadyClock = asio::steady_timer::clock_type;

constexpr absl::Duration kSoon = absl::Milliseconds(20);
constexpr absl::Duration kLater = absl::Milliseconds(60);
constexpr absl::Duration kNever = absl::Hours(1);

class Owner : public std::enable_shared_from_this<Owner> {
 public:
  explicit Owner(asio::io_context& loop) : timer(loop.get_executor()) {}
  void Set(absl::Duration patience) { timer.Set(shared_from_this(), patience, &Owner::OnLate); }
  void OnLate() {
    ++late;
    late_at = SteadyClock::now();
  }
  LazyTimer<Owner> timer;
  int late = 0;
  SteadyClock::time_point late_at;
};

class LazyTimerTest : public testing::Test {
 protected:
  absl::Duration LateAfter() const { return absl::FromChrono(owner_->late_at - start_); }
  asio::io_context loop_;
  const SteadyClock::time_point start_ = SteadyClock::now();
  const std::shared_ptr<Owner> owner_ = std::make_shared<Owner>(loop_);
};

TEST_F(LazyTimerTest, ADeadlineThatPassesIsToldOnce) {
  owner_->Set(kSoon);
  loop_.run();
  EXPECT_EQ(owner_->late, 1);
  EXPECT_GE(LateAfter(), kSoon);
}

TEST_F(LazyTimerTest, OneThatIsMovedBackIsToldAtItsNewTime) {
  owner_->Set(kSoon);
  owner_->Set(kLater);
  loop_.run();
  EXPECT_EQ(owner_->late, 1);
  EXPECT_GE(LateAfter(), kLater);
}

TEST_F(LazyTimerTest, OneThatIsMovedForwardDoesNotWaitForTheOldTime) {
  owner_->Set(kNever);
  owner_->Set(kSoon);
  loop_.run();
  EXPECT_EQ(owner_->late, 1);
  EXPECT_LT(LateAfter(), kNever);
}

TEST_F(LazyTimerTest, OneThatIsForgottenIsToldToNobody) {
  owner_->Set(kSoon);
  owner_->timer.Forget();
  loop_.run();
  EXPECT_EQ(owner_->late, 0);
}

TEST_F(LazyTimerTest, OneThatIsSetAgainAfterwardsIsTold) {
  owner_->Set(kSoon);
  owner_->timer.Forget();
  owner_->Set(kLater);
  loop_.run();
  EXPECT_EQ(owner_->late, 1);
  owner_->Set(kSoon);
  loop_.restart();
  loop_.run();
  EXPECT_EQ(owner_->late, 2);
}

TEST_F(LazyTimerTest, AClosedOneLetsGoOfItsOwnerAtOnce) {
  owner_->Set(kNever);
  EXPECT_GT(owner_.use_count(), 1);
  owner_->timer.Close();
  loop_.run();
  EXPECT_EQ(owner_->late, 0);
  EXPECT_EQ(owner_.use_count(), 1);
}

}  // namespace
}  // namespace baton::router
