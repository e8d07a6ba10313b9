// Several routers that place at the same moment, each by its own picture, which does not have the
// others' placements yet.

#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "services/router/placement/testing/workers.h"

namespace baton::router {
namespace {

// A router's picture: its own placements, and nobody else's.
class Picture {
 public:
  Picture(std::string_view policy, uint64_t seed, PlacementSnapshot workers)
      : policy_(*MakePolicy(policy, {.seed = seed})), workers_(std::move(workers)) {}

  Decision Place(int32_t prompt_tokens) {
    Decision decision = policy_->Decide(Request(prompt_tokens), workers_);
    for (WorkerState& worker : workers_.decode) {
      if (worker.profile.id != decision.decode) continue;
      ++worker.added_sequences;
      if (decision.prefill.empty()) worker.added_tokens += prompt_tokens;
    }
    for (WorkerState& worker : workers_.prefill) {
      const bool its = !decision.prefill.empty() && worker.profile.id == decision.prefill.front();
      if (its) worker.added_tokens += prompt_tokens;
    }
    return decision;
  }

 private:
  const std::unique_ptr<Policy> policy_;
  PlacementSnapshot workers_;
};

PlacementSnapshot Idle(int decode, int prefill) {
  PlacementSnapshot snapshot;
  for (int i = 0; i < decode; ++i) snapshot.decode.push_back(Decode("d" + std::to_string(100 + i)));
  for (int i = 0; i < prefill; ++i) {
    snapshot.prefill.push_back(Prefill("p" + std::to_string(100 + i)));
  }
  return snapshot;
}

// How many requests each worker got, when so many routers place a burst of so many each.
std::map<std::string, int> Burst(std::string_view policy, int routers, int requests, int workers,
                                 uint64_t seed) {
  std::map<std::string, int> placed;
  for (int router = 0; router < routers; ++router) {
    Picture picture(policy, seed * 1000 + router, Idle(workers, 0));
    for (int i = 0; i < requests; ++i) ++placed[picture.Place(200).decode.value()];
  }
  return placed;
}

int Most(const std::map<std::string, int>& placed) {
  int most = 0;
  for (const auto& [worker, count] : placed) most = std::max(most, count);
  return most;
}

class StampedeTest : public testing::TestWithParam<const char*> {};

TEST_P(StampedeTest, TwoRoutersWithABurstGiveNoWorkerMoreThanOneOfEach) {
  for (uint64_t seed = 1; seed <= 200; ++seed) {
    for (const int requests : {4, 8, 16}) {
      EXPECT_LE(Most(Burst(GetParam(), 2, requests, 16, seed)), 2) << "seed " << seed;
    }
  }
}

// Half of the workers would idle if both began with the same ones. By chance, 2 × 8 on 16 leave 4.
TEST_P(StampedeTest, TwoRoutersWithABurstDoNotBeginWithTheSameWorkers) {
  int idle = 0;
  for (uint64_t seed = 1; seed <= 200; ++seed) {
    idle += 16 - static_cast<int>(Burst(GetParam(), 2, 8, 16, seed).size());
  }
  EXPECT_LE(idle, 200 * 5);
}

// Sixteen balls in sixteen bins: more than seven in one come up once in 200,000.
TEST_P(StampedeTest, SixteenRoutersWithARequestEachDoNotMeetOnOneWorker) {
  int sum = 0;
  for (uint64_t seed = 1; seed <= 200; ++seed) {
    const int most = Most(Burst(GetParam(), 16, 1, 16, seed));
    EXPECT_LE(most, 7) << "seed " << seed;
    sum += most;
  }
  EXPECT_LE(sum, 200 * 4);
}

INSTANTIATE_TEST_SUITE_P(Policies, StampedeTest,
                         testing::Values("cost", "lowest-latency", "least-queued", "least-kv",
                                         "kv-aware", "fewest-computed-tokens"),
                         [](const auto& info) {
                           std::string name = info.param;
                           std::erase(name, '-');
                           return name;
                         });

TEST(StampedeTest, PrefillWorkersAreSpreadLikeDecodeWorkers) {
  std::map<std::string, int> placed;
  for (uint64_t router = 1; router <= 16; ++router) {
    const Decision decision = Picture("always-remote", router, Idle(16, 32)).Place(4000);
    ASSERT_FALSE(decision.prefill.empty());
    ++placed[decision.prefill.front().value()];
  }
  EXPECT_LE(Most(placed), 4);
}

// The dice choose between equals, they do not cost: what they choose is within a fiftieth of the
// least.
TEST(StampedeTest, WhatTheDiceChooseIsNearlyTheCheapest) {
  PlacementSnapshot snapshot = Idle(24, 12);
  for (size_t i = 0; i < snapshot.decode.size(); ++i) {
    snapshot.decode[i].load.engine.fit.per_decode_ms *= 1 + 0.002 * static_cast<double>(i);
    snapshot.decode[i].load.engine.running = static_cast<int32_t>(i % 3);
  }
  for (uint64_t seed = 1; seed <= 200; ++seed) {
    const Decision decision =
        (*MakePolicy("cost", {.seed = seed}))->Decide(Request(1000), snapshot);
    const WorkerId prefill = decision.prefill.empty() ? WorkerId() : decision.prefill.front();
    const auto chosen = std::find_if(
        decision.candidates.begin(), decision.candidates.end(), [&](const Candidate& candidate) {
          return candidate.decode == decision.decode && candidate.prefill == prefill;
        });
    ASSERT_NE(chosen, decision.candidates.end());
    EXPECT_LE(chosen->estimate.total_ms, 1.02 * decision.candidates.front().estimate.total_ms);
  }
}

}  // namespace
}  // namespace baton::router
