#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <latch>
#include <random>
#include <thread>

#include "kernels/collective.h"

namespace baton::kernels {
namespace {

using testing::HasSubstr;

// Runs `work` on every rank's own thread, each begun in a random order.
void OnAllRanks(std::vector<std::unique_ptr<Collective>>& ranks,
                const std::function<void(Collective&)>& work, uint64_t seed = 1) {
  std::vector<size_t> order(ranks.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::shuffle(order.begin(), order.end(), std::mt19937_64(seed));
  std::vector<std::thread> threads;
  for (const size_t r : order) threads.emplace_back([&, r] { work(*ranks[r]); });
  for (std::thread& thread : threads) thread.join();
}

class HostCollectiveTest : public testing::TestWithParam<int32_t> {
 protected:
  std::vector<std::unique_ptr<Collective>> ranks_ = MakeHostCollectives(GetParam());
};

TEST_P(HostCollectiveTest, EndpointsKnowTheirPlace) {
  for (int32_t r = 0; r < GetParam(); ++r) {
    EXPECT_EQ(ranks_[size_t(r)]->rank(), r);
    EXPECT_EQ(ranks_[size_t(r)]->size(), GetParam());
  }
}

// Values of many magnitudes, so that another order of additions gives other bits.
TEST_P(HostCollectiveTest, EveryRankHasTheSumByRisingRankToTheLastBit) {
  for (const size_t count : {1u, 3u, 1000u, 5000u}) {
    const std::vector<float> zeros(count);
    std::vector<std::vector<float>> data(ranks_.size(), zeros);
    std::mt19937 random{uint32_t(count)};
    std::uniform_real_distribution<float> exponent(-20, 20);
    for (auto& of_rank : data) {
      for (float& x : of_rank) x = (random() % 2 ? 1.0f : -1.0f) * std::exp2(exponent(random));
    }
    std::vector<float> expected = data[0];
    for (size_t r = 1; r < data.size(); ++r) {
      for (size_t i = 0; i < count; ++i) expected[i] += data[r][i];
    }
    for (uint64_t seed = 0; seed < 3; ++seed) {
      auto copy = data;
      OnAllRanks(
          ranks_,
          [&](Collective& rank) {
            EXPECT_TRUE(rank.AllReduceSum(copy[size_t(rank.rank())].data(), count));
          },
          seed);
      for (const auto& of_rank : copy) {
        EXPECT_TRUE(of_rank == expected) << count << " floats, order " << seed;
      }
    }
  }
}

TEST_P(HostCollectiveTest, GatheringKeepsTheOrderOfRanks) {
  OnAllRanks(ranks_, [&](Collective& rank) {
    const std::vector<int32_t> mine(7, 100 + rank.rank());
    std::vector<int32_t> all(7 * size_t(rank.size()));
    EXPECT_TRUE(rank.AllGather(mine.data(), 7 * sizeof(int32_t), all.data()));
    for (int32_t i = 0; i < int32_t(all.size()); ++i) EXPECT_EQ(all[size_t(i)], 100 + i / 7);
  });
}

TEST_P(HostCollectiveTest, EveryRootCanBroadcast) {
  OnAllRanks(ranks_, [&](Collective& rank) {
    for (int32_t root = 0; root < rank.size(); ++root) {
      int64_t value = 1000 * rank.rank() + root;
      EXPECT_TRUE(rank.Broadcast(&value, sizeof value, root));
      EXPECT_EQ(value, 1001 * root);
    }
  });
}

TEST_P(HostCollectiveTest, OperationsFollowEachOtherWithoutMixing) {
  OnAllRanks(ranks_, [&](Collective& rank) {
    const float n = float(rank.size());
    for (int i = 0; i < 200; ++i) {
      float x[2] = {float(i), float(rank.rank())};
      EXPECT_TRUE(rank.AllReduceSum(x, 2));
      EXPECT_EQ(x[0], float(i) * n);
      EXPECT_EQ(x[1], n * (n - 1) / 2);
    }
  });
}

INSTANTIATE_TEST_SUITE_P(Sizes, HostCollectiveTest, testing::Values(1, 2, 3, 4, 8));

TEST(HostCollectiveAbortTest, ARankThatNeverComesKeepsNobodyWaiting) {
  auto ranks = MakeHostCollectives(3);
  std::latch waiting(2);
  std::thread first([&] {
    float x = 1;
    waiting.count_down();
    EXPECT_FALSE(ranks[0]->AllReduceSum(&x, 1));
  });
  std::thread second([&] {
    float x = 1, all[3];
    waiting.count_down();
    EXPECT_FALSE(ranks[1]->AllGather(&x, sizeof x, all));
  });
  waiting.wait();
  ranks[2]->Abort("rank 2 has lost its device");
  first.join();
  second.join();
  EXPECT_THAT(ranks[0]->failure(), HasSubstr("rank 2 has lost"));
}

TEST(HostCollectiveAbortTest, AnAbortedGroupStaysSoWithItsFirstReason) {
  auto ranks = MakeHostCollectives(2);
  EXPECT_EQ(ranks[0]->failure(), "");
  ranks[1]->Abort("first");
  ranks[0]->Abort("second");
  float x = 1;
  EXPECT_FALSE(ranks[0]->AllReduceSum(&x, 1));
  EXPECT_FALSE(ranks[1]->Broadcast(&x, sizeof x, 0));
  EXPECT_EQ(ranks[0]->failure(), "first");
}

// An abort in the middle of the work: each rank either has the whole result or says that it has
// none, and nobody's memory is touched after it has returned (the sanitizers look).
TEST(HostCollectiveAbortTest, NobodyReturnsWhileOthersUseItsMemory) {
  for (int round = 0; round < 20; ++round) {
    auto ranks = MakeHostCollectives(4);
    std::thread aborter([&] { ranks[0]->Abort("now"); });
    OnAllRanks(
        ranks,
        [&](Collective& rank) {
          for (bool going = true; going;) {
            auto data = std::make_unique<std::vector<float>>(4000, 1.0f);
            going = rank.AllReduceSum(data->data(), data->size());
            if (going) {
              EXPECT_EQ(std::count(data->begin(), data->end(), 4.0f), 4000);
            }
          }
        },
        uint64_t(round));
    aborter.join();
  }
}

}  // namespace
}  // namespace baton::kernels
