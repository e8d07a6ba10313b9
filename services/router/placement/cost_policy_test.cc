// The choice among plausible pairs against an estimate of every pair.

#include "services/router/placement/cost_policy.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

namespace baton::router {
namespace {

class CostPolicyChoiceTest : public ::testing::Test {
 protected:
  double Between(double low, double high) {
    return std::uniform_real_distribution<double>(low, high)(random_);
  }
  WorkerState Worker(WorkerRole role, int number) {
    WorkerState state;
    state.profile = {
        .id = WorkerId((role == WorkerRole::kDecode ? "d" : "p") + std::to_string(1000 + number)),
        .role = role,
        .model = "m",
        .fingerprint = "f",
        .num_blocks = 1000,
        .batch_sequences_max = 8,
        .kv_bytes_per_token = 20000,
        .step_tokens_max = 512};
    state.load.engine.running = static_cast<int32_t>(Between(0, 10));
    state.load.engine.waiting_tokens = static_cast<int64_t>(Between(0, 5000));
    state.load.engine.fit = {.base_ms = Between(1, 20),
                             .per_prefill_token_ms = Between(0.001, 0.1),
                             .per_decode_ms = Between(0.1, 1),
                             .samples = Between(0, 1) < 0.9 ? 100 : 0};
    state.load.kv_bytes = 1 << 24;
    state.load.kv_busy_seconds = Between(0.01, 10);
    return state;
  }
  PlacementSnapshot Cluster(int decode, int prefill) {
    PlacementSnapshot snapshot;
    for (int i = 0; i < decode; ++i) snapshot.decode.push_back(Worker(WorkerRole::kDecode, i));
    for (int i = 0; i < prefill; ++i) snapshot.prefill.push_back(Worker(WorkerRole::kPrefill, i));
    return snapshot;
  }
  double LeastOfAllPairs(const PlacementRequest& request, const PlacementSnapshot& snapshot) {
    model_.SupposeFrom(snapshot.decode);
    double least = 1e300;
    for (const WorkerState& decode : snapshot.decode) {
      least = std::min(least, model_.Local(decode, request.prompt_tokens, 1).total_ms);
      for (const WorkerState& prefill : snapshot.prefill) {
        const Estimate pair = model_.Remote(decode, prefill, request.prompt_tokens, 1);
        least = std::min(least, pair.total_ms);
      }
    }
    return least;
  }

  std::mt19937_64 random_{11};
  CostModel model_{CostOptions()};
  CostPolicy policy_{"cost", CostPolicy::Where::kCheaper, CostOptions()};
};

TEST_F(CostPolicyChoiceTest, OfUpToEightPrefillWorkersTheBestPairIsChosenWhateverIsCached) {
  for (int round = 0; round < 300; ++round) {
    PlacementSnapshot snapshot = Cluster(1 + round % 12, round % 9);
    for (WorkerState& decode : snapshot.decode) decode.cached_blocks = random_() % 40;
    for (WorkerState& prefill : snapshot.prefill) prefill.cached_blocks = random_() % 40;
    const PlacementRequest request{.prompt_tokens = 1000};
    const Decision decision = policy_.Decide(request, snapshot);
    ASSERT_DOUBLE_EQ(decision.candidates.front().estimate.total_ms,
                     LeastOfAllPairs(request, snapshot))
        << "round " << round;
  }
}

TEST_F(CostPolicyChoiceTest, OfManyTooWhileNoDecodeWorkerHoldsAPartOfThePrompt) {
  for (int round = 0; round < 100; ++round) {
    PlacementSnapshot snapshot = Cluster(20, 60);
    for (WorkerState& prefill : snapshot.prefill) {
      prefill.cached_blocks = random_() % 40;
      prefill.load.engine.fit.samples = 100;
    }
    const PlacementRequest request{.prompt_tokens = 1000};
    const Decision decision = policy_.Decide(request, snapshot);
    ASSERT_DOUBLE_EQ(decision.candidates.front().estimate.total_ms,
                     LeastOfAllPairs(request, snapshot))
        << "round " << round;
    ASSERT_EQ(decision.candidates.size(), 32u);
  }
}

// Waiting longer than the difference makes the other way the cheaper one.
TEST_F(CostPolicyChoiceTest, ALocalPrefillNamesWhoTakesItOverAndFromWhichWaitOn) {
  int local = 0;
  for (int round = 0; round < 100; ++round) {
    const PlacementSnapshot snapshot = Cluster(1, 2);
    const PlacementRequest request{.prompt_tokens = 1000};
    const Decision decision = policy_.Decide(request, snapshot);
    if (!decision.prefill.empty()) {
      EXPECT_TRUE(decision.spare.empty());
      continue;
    }
    ++local;
    ASSERT_EQ(decision.spare.size(), 2u);
    const Candidate& here = decision.candidates.at(0);
    const Candidate& there = decision.candidates.at(1);
    EXPECT_EQ(decision.spare.front(), there.prefill);
    EXPECT_NEAR(absl::ToDoubleMilliseconds(decision.local_wait_max),
                here.estimate.queue_ms + there.estimate.total_ms - here.estimate.total_ms +
                    CostOptions().handover_ms,
                1e-5);
  }
  EXPECT_GT(local, 10);
}

TEST_F(CostPolicyChoiceTest, TheRunnerUpIsTheNextBestForTheSameDecodeWorker) {
  for (int round = 0; round < 100; ++round) {
    const PlacementSnapshot snapshot = Cluster(5, 6);
    const PlacementRequest request{.prompt_tokens = 4000};
    const Decision decision = policy_.Decide(request, snapshot);
    if (decision.prefill.empty()) continue;
    ASSERT_EQ(decision.prefill.size(), 2u);
    model_.SupposeFrom(snapshot.decode);
    double second = 1e300;
    WorkerId runner_up;
    const WorkerState& decode =
        *std::find_if(snapshot.decode.begin(), snapshot.decode.end(),
                      [&](const WorkerState& w) { return w.profile.id == decision.decode; });
    for (const WorkerState& prefill : snapshot.prefill) {
      const double total = model_.Remote(decode, prefill, 4000, 1).total_ms;
      if (prefill.profile.id == decision.prefill.front() || total >= second) continue;
      second = total;
      runner_up = prefill.profile.id;
    }
    ASSERT_EQ(decision.prefill[1], runner_up) << "round " << round;
  }
}

}  // namespace
}  // namespace baton::router
