#include "services/router/placement/kv_index/kv_index.h"

#include <gtest/gtest.h>

#include "services/router/placement/kv_index/testing/chains.h"

namespace baton::router {
namespace {

using Outcome = KvIndex::Outcome;
using testing::Chain;
using testing::Drop;
using testing::Store;

class KvIndexTest : public ::testing::Test {
 protected:
  int32_t Held(const KvSeat& seat, const std::vector<kv::BlockHash>& prompt) {
    index_.Match(prompt, now_, matches_);
    return matches_.held(seat);
  }
  int32_t Expected(const KvSeat& seat, const std::vector<kv::BlockHash>& prompt) {
    index_.Match(prompt, now_, matches_);
    return matches_.expected(seat);
  }
  void TidyUp() {
    while (index_.Tidy(1 << 20)) {
    }
  }

  KvIndex index_;
  KvMatches matches_;
  absl::Duration now_ = absl::Hours(1);
  const KvSeat a_ = index_.Join();
  const KvSeat b_ = index_.Join();
  const std::vector<kv::BlockHash> prompt_ = Chain("system", 100);
};

TEST_F(KvIndexTest, CountsTheLeadingBlocksOfEveryWorker) {
  EXPECT_EQ(index_.Apply(a_, Store(1, prompt_, 0, 100)), Outcome::kApplied);
  EXPECT_EQ(index_.Apply(b_, Store(1, prompt_, 0, 37)), Outcome::kApplied);
  EXPECT_EQ(Held(a_, prompt_), 100);
  EXPECT_EQ(Held(b_, prompt_), 37);
  EXPECT_EQ(Held(a_, Chain("other", 5)), 0);
  EXPECT_EQ(Held(a_, {}), 0);
  EXPECT_EQ(Held(b_, Chain("system", 1)), 1);
}

TEST_F(KvIndexTest, BlocksBehindAHoleDoNotCountUntilItIsFilled) {
  index_.Apply(a_, Store(1, prompt_, 0, 100));
  index_.Apply(a_, Drop(2, prompt_, 40, 41));
  EXPECT_EQ(Held(a_, prompt_), 40);
  EXPECT_EQ(index_.blocks_of(a_), 99u);
  index_.Apply(a_, Drop(3, prompt_, 70, 71));
  index_.Apply(a_, Store(4, prompt_, 40, 41));
  EXPECT_EQ(Held(a_, prompt_), 70);
  index_.Apply(a_, Store(5, prompt_, 70, 71));
  EXPECT_EQ(Held(a_, prompt_), 100);
  EXPECT_EQ(index_.counters().orphans, 0u);
}

TEST_F(KvIndexTest, AHoleOfOneWorkerIsNoneOfAnother) {
  index_.Apply(a_, Store(1, prompt_, 0, 100));
  index_.Apply(b_, Store(1, prompt_, 0, 100));
  index_.Apply(a_, Drop(2, prompt_, 0, 1));
  EXPECT_EQ(Held(a_, prompt_), 0);
  EXPECT_EQ(Held(b_, prompt_), 100);
}

TEST_F(KvIndexTest, AGapAsksOnceForASnapshotWhichReplacesEverything) {
  index_.Apply(a_, Store(1, prompt_, 0, 5));
  EXPECT_EQ(index_.Apply(a_, Store(3, prompt_, 6, 7)), Outcome::kGap);
  EXPECT_EQ(index_.Apply(a_, Store(4, prompt_, 7, 8)), Outcome::kIgnored);
  auto snapshot = Store(5, Chain("new", 3), 0, 3);
  snapshot.snapshot = true;
  EXPECT_EQ(index_.Apply(a_, snapshot), Outcome::kApplied);
  EXPECT_EQ(Held(a_, prompt_), 0);
  EXPECT_EQ(Held(a_, Chain("new", 3)), 3);
  EXPECT_EQ(index_.Apply(a_, Store(6, Chain("new", 4), 3, 4)), Outcome::kApplied);
  EXPECT_EQ(Held(a_, Chain("new", 4)), 4);
  TidyUp();
  EXPECT_EQ(index_.counters().blocks, 4u);
}

TEST_F(KvIndexTest, AStreamThatBeginsInTheMiddleAndARepeatedNumberAreGaps) {
  EXPECT_EQ(index_.Apply(a_, Store(17, prompt_, 0, 1)), Outcome::kGap);
  index_.Apply(b_, Store(1, prompt_, 0, 1));
  EXPECT_EQ(index_.Apply(b_, Store(1, prompt_, 1, 2)), Outcome::kGap);
}

TEST_F(KvIndexTest, AWorkerThatLeftIsGoneAtOnceAndItsMemoryAfterATidy) {
  index_.Apply(a_, Store(1, prompt_, 0, 100));
  index_.Apply(b_, Store(1, prompt_, 0, 10));
  index_.Leave(a_);
  EXPECT_EQ(Held(a_, prompt_), 0);
  EXPECT_EQ(Held(b_, prompt_), 10);
  EXPECT_EQ(index_.counters().blocks, 100u);
  TidyUp();
  EXPECT_EQ(index_.counters().blocks, 10u);
  EXPECT_EQ(index_.Apply(a_, Store(2, prompt_, 0, 1)), Outcome::kIgnored);
}

TEST_F(KvIndexTest, ANewWorkerNeverInheritsTheBlocksOfOneThatLeft) {
  index_.Apply(a_, Store(1, prompt_, 0, 100));
  index_.Leave(a_);
  for (int i = 0; i < 3; ++i) {
    const KvSeat fresh = index_.Join();
    EXPECT_EQ(Held(fresh, prompt_), 0);
    EXPECT_EQ(Expected(fresh, prompt_), 0);
    index_.Leave(fresh);
    TidyUp();
  }
}

TEST_F(KvIndexTest, ChildrenOfAWorkerThatLeftAreTakenOverWithTheirParent) {
  // The sweep frees parents before children here: stored in this order.
  index_.Apply(a_, Store(1, prompt_, 0, 100));
  index_.Leave(a_);
  for (size_t done = 0; index_.Tidy(1) && done < 3; ++done) {
  }
  index_.Apply(b_, Store(1, prompt_, 0, 100));
  EXPECT_EQ(Held(b_, prompt_), 100);
  TidyUp();
  EXPECT_EQ(Held(b_, prompt_), 100);
  index_.Apply(b_, Drop(2, prompt_, 0, 100));
  EXPECT_EQ(index_.counters().blocks, 0u);
}

TEST_F(KvIndexTest, BeyondItsLimitItKnowsLessButNothingFalse) {
  KvIndex small({.blocks_max = 10});
  const KvSeat seat = small.Join();
  small.Apply(seat, Store(1, prompt_, 0, 100));
  small.Match(prompt_, now_, matches_);
  EXPECT_EQ(matches_.held(seat), 10);
  EXPECT_LE(small.counters().blocks + small.counters().orphans, 20u);
  EXPECT_GE(small.counters().refused, 80u);
  small.Apply(seat, Drop(2, prompt_, 0, 100));
  EXPECT_EQ(small.counters().blocks + small.counters().orphans, 0u);
}

TEST_F(KvIndexTest, APlacedPromptIsExpectedForAShortWhile) {
  index_.Expect(a_, prompt_, now_);
  EXPECT_EQ(Expected(a_, prompt_), 100);
  EXPECT_EQ(Held(a_, prompt_), 0);
  EXPECT_EQ(Expected(b_, prompt_), 0);
  now_ += absl::Seconds(3);
  EXPECT_EQ(Expected(a_, prompt_), 0);
}

TEST_F(KvIndexTest, APromptThatSharesItsBeginningMeetsTheExpectedOneInStepsOfEightBlocks) {
  index_.Expect(a_, prompt_, now_);
  const auto forked = [&](size_t shared) {
    auto prompt = Chain("another tail", 100);
    std::copy_n(prompt_.begin(), shared, prompt.begin());
    return prompt;
  };
  EXPECT_EQ(Expected(a_, forked(3)), 3);
  EXPECT_EQ(Expected(a_, forked(39)), 32);
  EXPECT_EQ(Expected(a_, forked(40)), 40);
}

TEST_F(KvIndexTest, WhatIsHeldIsExpectedToo) {
  index_.Apply(a_, Store(1, prompt_, 0, 50));
  index_.Expect(a_, Chain("system", 20), now_);
  EXPECT_EQ(Expected(a_, prompt_), 50);
}

TEST_F(KvIndexTest, ManyExpectedPromptsForgetTheOldestAndInventNothing) {
  KvIndex small({.expected_slots = 64});
  const KvSeat seat = small.Join();
  for (int i = 0; i < 1000; ++i) small.Expect(seat, Chain(std::to_string(i), 4), now_);
  int found = 0;
  for (int i = 0; i < 2000; ++i) {
    small.Match(Chain(std::to_string(i), 4), now_, matches_);
    found += matches_.expected(seat) > 0;
    ASSERT_TRUE(i < 1000 || matches_.expected(seat) == 0) << i;
  }
  EXPECT_GT(found, 0);
  EXPECT_LE(found, 64);
}

}  // namespace
}  // namespace baton::router
