#include "common/model/rank_threads.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <barrier>
#include <set>

namespace baton::model {
namespace {

using testing::Each;

TEST(RankThreadsTest, EveryRankRunsOnItsOwnThreadAndRankZeroOnTheOwners) {
  RankThreads threads(4);
  std::vector<std::thread::id> first(4), second(4);
  threads.Run([&](int32_t rank) { first[size_t(rank)] = std::this_thread::get_id(); });
  threads.Run([&](int32_t rank) { second[size_t(rank)] = std::this_thread::get_id(); });
  EXPECT_EQ(first, second);
  EXPECT_EQ(first[0], std::this_thread::get_id());
  EXPECT_EQ(std::set(first.begin(), first.end()).size(), 4u);
}

// Ranks that wait for each other, call after call; what they write is the owner's to read.
TEST(RankThreadsTest, RanksRunAtTheSameTimeAndAreOverWhenRunReturns) {
  constexpr int32_t kSize = 3, kCalls = 2000;
  RankThreads threads(kSize);
  std::barrier meeting(kSize);
  std::vector<int> counts(kSize);
  for (int call = 1; call <= kCalls; ++call) {
    threads.Run([&](int32_t rank) {
      meeting.arrive_and_wait();
      ++counts[size_t(rank)];
    });
    ASSERT_THAT(counts, Each(call));
  }
}

TEST(RankThreadsTest, OneRankNeedsNoThread) {
  RankThreads threads(1);
  int calls = 0;
  threads.Run([&](int32_t rank) { calls += rank == 0; });
  EXPECT_EQ(calls, 1);
}

TEST(RankThreadsTest, ThreadsThatNeverRanEndToo) { RankThreads threads(5); }

}  // namespace
}  // namespace baton::model
