// Each policy's rule on hand-made snapshots.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "services/router/placement/testing/workers.h"

namespace baton::router {
namespace {

using ::testing::ElementsAre;

std::string DecodeOf(std::string_view policy, const PlacementSnapshot& snapshot,
                     int32_t prompt_tokens = 100) {
  return Decide(policy, Request(prompt_tokens), snapshot).decode.value();
}

class TwoWorkersTest : public testing::Test {
 protected:
  WorkerState& first() { return snapshot_.decode[0]; }
  WorkerState& second() { return snapshot_.decode[1]; }
  PlacementSnapshot snapshot_{{Decode("d0"), Decode("d1")}, {}};
};

TEST_F(TwoWorkersTest, LeastQueuedCountsWhatRunsWaitsAndWasJustPlaced) {
  first().load.engine.running = 1;
  EXPECT_EQ(DecodeOf("least-queued", snapshot_), "d1");
  second().load.engine.waiting = 2;
  EXPECT_EQ(DecodeOf("least-queued", snapshot_), "d0");
  first().added_sequences = 2;
  EXPECT_EQ(DecodeOf("least-queued", snapshot_), "d1");
}

TEST_F(TwoWorkersTest, LeastQueuedTakesTheOneWithFewerTokensToComputeOfEqualQueues) {
  first().added_tokens = 10;
  EXPECT_EQ(DecodeOf("least-queued", snapshot_), "d1");
}

TEST_F(TwoWorkersTest, KvAwareFollowsTheCacheHoweverBusyItsWorkerIs) {
  first().load.engine.running = 7;
  first().cached_blocks = 4;
  EXPECT_EQ(DecodeOf("kv-aware", snapshot_), "d0");
  second().expected_blocks = 5;  // of a prompt placed there a moment ago
  EXPECT_EQ(DecodeOf("kv-aware", snapshot_), "d1");
}

TEST_F(TwoWorkersTest, KvAwareTakesTheLessQueuedOfTwoThatHoldTheWholePrompt) {
  first().cached_blocks = 50;
  second().cached_blocks = 60;
  second().added_sequences = 1;
  EXPECT_EQ(DecodeOf("kv-aware", snapshot_), "d0");
}

TEST_F(TwoWorkersTest, FewestComputedTokensWeighsTheQueueAgainstTheCache) {
  first().cached_blocks = 4;  // 64 of 100 tokens
  EXPECT_EQ(DecodeOf("fewest-computed-tokens", snapshot_), "d0");
  first().load.engine.waiting_tokens = 63;
  EXPECT_EQ(DecodeOf("fewest-computed-tokens", snapshot_), "d0");
  first().added_tokens = 2;
  EXPECT_EQ(DecodeOf("fewest-computed-tokens", snapshot_), "d1");
}

TEST_F(TwoWorkersTest, LeastKvLooksAtTheShareInUseNotAtTheQueue) {
  first().load.engine.blocks_free = 500;
  second().load.engine.blocks_free = 600;
  second().load.engine.running = 5;
  EXPECT_EQ(DecodeOf("least-kv", snapshot_), "d1");
  first().load.engine.blocks_cached = 200;  // as good as free
  EXPECT_EQ(DecodeOf("least-kv", snapshot_), "d0");
  first().load.engine.blocks_total = 900;
  first().load.engine.blocks_cached = 0;  // 400 of 900 against 400 of 1,000
  EXPECT_EQ(DecodeOf("least-kv", snapshot_), "d1");
}

TEST_F(TwoWorkersTest, LeastKvCountsWhatHasNoBlocksYet) {
  first().added_sequences = 2;
  second().load.engine.waiting = 1;
  EXPECT_EQ(DecodeOf("least-kv", snapshot_), "d1");
}

TEST_F(TwoWorkersTest, LowestLatencyDoesNotMindTheHarmThatCostAvoids) {
  // The second computes prompts twice as fast, and ten sequences would have to wait for it.
  for (WorkerState& worker : snapshot_.decode) {
    worker.profile.batch_sequences_max = 64;
    worker.load.engine.fit.per_decode_ms = 0;
  }
  second().load.engine.fit.per_prefill_token_ms = 0.05;
  second().load.engine.running = 10;
  EXPECT_EQ(DecodeOf("lowest-latency", snapshot_, 400), "d1");
  EXPECT_EQ(DecodeOf("cost", snapshot_, 400), "d0");
}

TEST_F(TwoWorkersTest, LowestLatencyAvoidsTheLongerQueue) {
  first().load.engine.waiting_tokens = 1000;
  EXPECT_EQ(DecodeOf("lowest-latency", snapshot_), "d1");
}

TEST_F(TwoWorkersTest, PowerOfTwoOfTwoIsTheLessQueued) {
  auto policy = *MakePolicy("power-of-two", {});
  first().load.engine.running = 3;
  for (int i = 0; i < 100; ++i) {
    ASSERT_EQ(policy->Decide(Request(100), snapshot_).decode.value(), "d1");
  }
}

TEST(PowerOfTwoTest, NeverTakesTheMostQueuedAndReachesAllOthers) {
  auto policy = *MakePolicy("power-of-two", {});
  PlacementSnapshot snapshot{{Decode("d0"), Decode("d1"), Decode("d2"), Decode("d3")}, {}};
  for (int i = 0; i < 4; ++i) snapshot.decode[i].load.engine.running = i;
  std::map<std::string, int> hits;
  for (int i = 0; i < 600; ++i) ++hits[policy->Decide(Request(10), snapshot).decode.value()];
  EXPECT_EQ(hits.count("d3"), 0u);
  // Of six pairs three hold the first, two more the second, one the third and the last.
  EXPECT_NEAR(hits["d0"], 300, 60);
  EXPECT_NEAR(hits["d1"], 200, 60);
  EXPECT_NEAR(hits["d2"], 100, 60);
}

TEST(RandomTest, ReachesEveryWorkerEquallyOften) {
  auto policy = *MakePolicy("random", {});
  const PlacementSnapshot snapshot{{Decode("d0"), Decode("d1"), Decode("d2")}, {}};
  std::map<std::string, int> hits;
  for (int i = 0; i < 3000; ++i) ++hits[policy->Decide(Request(10), snapshot).decode.value()];
  EXPECT_EQ(hits.size(), 3u);
  for (const auto& [worker, count] : hits) EXPECT_NEAR(count, 1000, 150) << worker;
}

class RoundRobinTest : public testing::Test {
 protected:
  std::string Next(const PlacementSnapshot& snapshot, int32_t prompt_tokens = 10) {
    return policy_->Decide(Request(prompt_tokens), snapshot).decode.value();
  }
  std::unique_ptr<Policy> policy_ = *MakePolicy("round-robin", {});
};

TEST_F(RoundRobinTest, TakesTurns) {
  const PlacementSnapshot snapshot{{Decode("d0"), Decode("d1")}, {}};
  std::vector<std::string> order;
  for (int i = 0; i < 4; ++i) order.push_back(Next(snapshot));
  EXPECT_THAT(order, ElementsAre("d0", "d1", "d0", "d1"));
}

TEST_F(RoundRobinTest, AWorkerThatJoinsOrLeavesChangesNobodyElsesTurn) {
  EXPECT_EQ(Next({{Decode("d1"), Decode("d2")}, {}}), "d1");
  EXPECT_EQ(Next({{Decode("d0"), Decode("d1"), Decode("d2")}, {}}), "d2");
  EXPECT_EQ(Next({{Decode("d0"), Decode("d1"), Decode("d2")}, {}}), "d0");
  EXPECT_EQ(Next({{Decode("d1"), Decode("d2")}, {}}), "d1");
  EXPECT_EQ(Next({{Decode("d0"), Decode("d3")}, {}}), "d3");
}

TEST_F(RoundRobinTest, APromptThatStaysLocalTakesNoPrefillWorkersTurn) {
  const PlacementSnapshot snapshot{{Decode()}, {Prefill("p0"), Prefill("p1")}};
  std::vector<std::string> prefill;
  for (int i = 0; i < 4; ++i) {
    const Decision local = policy_->Decide(Request(10), snapshot);
    ASSERT_TRUE(local.prefill.empty());
    EXPECT_EQ(local.reason, reason::kLocalCheaper);
    const Decision remote = policy_->Decide(Request(3000), snapshot);
    ASSERT_EQ(remote.prefill.size(), 2u);
    EXPECT_NE(remote.prefill[0], remote.prefill[1]);
    prefill.push_back(remote.prefill[0].value());
  }
  EXPECT_THAT(prefill, ElementsAre("p0", "p1", "p0", "p1"));
}

}  // namespace
}  // namespace baton::router
