#include "services/router/membership/circuit_breaker.h"

#include <gtest/gtest.h>

#include <set>

namespace baton::router {
namespace {

constexpr absl::Duration kSecond = absl::Seconds(1);

class CircuitBreakerTest : public testing::Test {
 protected:
  // Fails until it opens; returns the pause until it allows work again.
  absl::Duration Pause(CircuitBreaker& breaker) {
    EXPECT_TRUE(breaker.OnFailure(3, now_));
    absl::Duration pause;
    while (!breaker.Allows(now_ + pause)) pause += absl::Milliseconds(1);
    now_ += pause;
    return pause;
  }

  const CircuitBreaker::Options options_;
  CircuitBreaker breaker_{options_, 1};
  absl::Duration now_ = absl::Seconds(100);
};

TEST_F(CircuitBreakerTest, OpensAfterFailuresInARowOnly) {
  for (int i = 0; i < 10; ++i) {
    EXPECT_FALSE(breaker_.OnFailure(1, now_));
    EXPECT_FALSE(breaker_.OnFailure(1, now_));
    EXPECT_FALSE(breaker_.OnSuccess()) << "it was never open";
  }
  EXPECT_TRUE(breaker_.Allows(now_));
  EXPECT_FALSE(breaker_.OnFailure(1, now_));
  EXPECT_FALSE(breaker_.OnFailure(1, now_));
  EXPECT_TRUE(breaker_.OnFailure(1, now_));
  EXPECT_FALSE(breaker_.Allows(now_));
}

TEST_F(CircuitBreakerTest, ATrialThatSucceedsClosesIt) {
  Pause(breaker_);
  breaker_.OnPlaced(now_);
  EXPECT_FALSE(breaker_.Allows(now_)) << "one trial at a time";
  EXPECT_TRUE(breaker_.OnSuccess());
  EXPECT_FALSE(breaker_.tripped());
  EXPECT_TRUE(breaker_.Allows(now_));
}

TEST_F(CircuitBreakerTest, WhatWasPlacedBeforeProvesNothing) {
  EXPECT_TRUE(breaker_.OnFailure(3, now_));
  EXPECT_FALSE(breaker_.OnSuccess());
  EXPECT_FALSE(breaker_.OnFailure(3, now_)) << "open already";
  EXPECT_TRUE(breaker_.tripped());
}

TEST_F(CircuitBreakerTest, PausesDoubleUpToTheirBoundAndBeginAnewAfterASuccess) {
  absl::Duration expected = options_.pause_min;
  for (int i = 0; i < 8; ++i) {
    const absl::Duration pause = Pause(breaker_);
    EXPECT_GE(pause, expected * 0.79);
    EXPECT_LE(pause, expected * 1.21);
    expected = std::min(expected * 2, options_.pause_max);
    breaker_.OnPlaced(now_);
  }
  EXPECT_TRUE(breaker_.OnSuccess());
  EXPECT_LE(Pause(breaker_), options_.pause_min * 1.21);
}

TEST_F(CircuitBreakerTest, ATrialWithoutAWordIsFollowedByAnother) {
  Pause(breaker_);
  breaker_.OnPlaced(now_);
  EXPECT_FALSE(breaker_.Allows(now_ + options_.trial_max - kSecond));
  EXPECT_TRUE(breaker_.Allows(now_ + options_.trial_max));
}

TEST_F(CircuitBreakerTest, RoutersThatSawTheSameDoNotTryAtTheSameMoment) {
  std::set<absl::Duration> pauses;
  for (uint64_t seed = 0; seed < 20; ++seed) {
    CircuitBreaker breaker(options_, seed);
    pauses.insert(Pause(breaker));
  }
  EXPECT_GT(pauses.size(), 10u);
}

}  // namespace
}  // namespace baton::router
