#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "services/router/placement/decision_log.h"
#include "services/router/placement/policies.h"
#include "services/router/placement/testing/workers.h"

namespace baton::router {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<std::string> Names(const std::vector<WorkerId>& ids) {
  std::vector<std::string> names;
  for (const WorkerId& id : ids) names.push_back(id.value());
  return names;
}

TEST(CostPolicyTest, AShortPromptStaysLocalAndALongOneGoesRemote) {
  const PlacementSnapshot snapshot{{Decode()}, {Prefill()}};
  const Decision small = Decide("cost", Request(32), snapshot);
  EXPECT_TRUE(small.prefill.empty());
  EXPECT_EQ(small.reason, reason::kLocalCheaper);
  const Decision large = Decide("cost", Request(2000), snapshot);
  EXPECT_THAT(Names(large.prefill), ElementsAre("p0"));
  EXPECT_EQ(large.reason, reason::kRemoteCheaper);
}

TEST(CostPolicyTest, WithNoPrefillWorkerEverythingIsLocal) {
  const Decision decision = Decide("cost", Request(5000), {{Decode()}, {}});
  EXPECT_TRUE(decision.prefill.empty());
  EXPECT_EQ(decision.reason, reason::kNoPrefillWorker);
}

TEST(CostPolicyTest, ALongPromptThatIsCachedStaysLocal) {
  PlacementSnapshot snapshot{{Decode()}, {Prefill()}};
  snapshot.decode[0].cached_blocks = 124;  // 1,984 of 2,000 tokens
  const Decision decision = Decide("cost", Request(2000), snapshot);
  EXPECT_TRUE(decision.prefill.empty());
  EXPECT_EQ(decision.reason, reason::kCached);
}

TEST(CostPolicyTest, ABusyDecodeWorkerSendsShorterPromptsAway) {
  PlacementSnapshot snapshot{{Decode()}, {Prefill()}};
  snapshot.decode[0].load.engine.running = 6;
  EXPECT_EQ(Decide("cost", Request(32), snapshot).reason, reason::kRemoteCheaper);
}

TEST(CostPolicyTest, ALongQueueOnThePrefillWorkerKeepsPromptsLocal) {
  PlacementSnapshot snapshot{{Decode()}, {Prefill()}};
  snapshot.prefill[0].load.engine.waiting_tokens = 100000;
  EXPECT_EQ(Decide("cost", Request(2000), snapshot).reason, reason::kLocalCheaper);
}

TEST(CostPolicyTest, WorkPlacedSinceTheLastReportCounts) {
  PlacementSnapshot snapshot{{Decode()}, {Prefill("p0"), Prefill("p1")}};
  snapshot.prefill[0].added_tokens = 5000;
  const Decision decision = Decide("cost", Request(2000), snapshot);
  EXPECT_THAT(Names(decision.prefill), ElementsAre("p1", "p0"));
}

TEST(CostPolicyTest, TheDecodeWorkerWithThePrefixWinsUntilItIsCrowded) {
  PlacementSnapshot snapshot{{Decode("d0"), Decode("d1")}, {}};
  snapshot.decode[1].cached_blocks = 60;
  EXPECT_EQ(Decide("cost", Request(1000), snapshot).decode.value(), "d1");
  snapshot.decode[1].load.engine.running = 8;
  snapshot.decode[1].load.engine.waiting = 8;
  EXPECT_EQ(Decide("cost", Request(1000), snapshot).decode.value(), "d0");
}

TEST(CostPolicyTest, WorkersWithAnotherFingerprintAreNeverPaired) {
  PlacementSnapshot snapshot{{Decode()}, {Prefill()}};
  snapshot.prefill[0].profile.fingerprint = "other";
  for (const std::string_view policy : PolicyNames()) {
    const Decision decision = Decide(policy, Request(5000), snapshot);
    EXPECT_TRUE(decision.prefill.empty()) << policy;
  }
}

TEST(CostPolicyTest, ASlowLinkKeepsPromptsLocal) {
  PlacementSnapshot snapshot{{Decode()}, {Prefill()}};
  snapshot.prefill[0].load.kv_bytes = 2 << 20;
  snapshot.prefill[0].load.kv_busy_seconds = 20;  // 100 kB/s
  EXPECT_EQ(Decide("cost", Request(2000), snapshot).reason, reason::kLocalCheaper);
}

TEST(CostPolicyTest, APrefillWorkerThatHasNotMeasuredYetStillGetsItsFirstPrompts) {
  PlacementSnapshot snapshot{{Decode()}, {Prefill()}};
  snapshot.decode[0].load.engine.fit.per_prefill_token_ms = 0.01;  // much faster than the prior
  snapshot.prefill[0].load.engine.fit = {};
  EXPECT_EQ(Decide("cost", Request(4000), snapshot).reason, reason::kRemoteCheaper);
}

TEST(CostPolicyTest, EveryCandidateIsInTheDecisionCheapestFirst) {
  const PlacementSnapshot snapshot{{Decode("d0"), Decode("d1")}, {Prefill("p0"), Prefill("p1")}};
  const Decision decision = Decide("cost", Request(2000), snapshot);
  ASSERT_EQ(decision.candidates.size(), 6u);
  for (size_t i = 1; i < 6; ++i) {
    EXPECT_LE(decision.candidates[i - 1].estimate.total_ms,
              decision.candidates[i].estimate.total_ms);
  }
  EXPECT_EQ(decision.candidates[0].decode, decision.decode);
}

TEST(PolicyTest, AlwaysLocalAndAlwaysRemoteDoAsTheySay) {
  const PlacementSnapshot snapshot{{Decode()}, {Prefill()}};
  EXPECT_TRUE(Decide("always-local", Request(5000), snapshot).prefill.empty());
  EXPECT_THAT(Names(Decide("always-remote", Request(40), snapshot).prefill), ElementsAre("p0"));
  EXPECT_THAT(Names(Decide("always-remote", Request(5), snapshot).prefill), ElementsAre("p0"));
  EXPECT_TRUE(Decide("always-remote", Request(40), {{Decode()}, {}}).prefill.empty());
}

TEST(PolicyTest, AnUnknownNameIsAnsweredWithTheKnownOnes) {
  const auto policy = MakePolicy("magic", {});
  EXPECT_THAT(MessageOf(policy.status()), HasSubstr("no policy \"magic\""));
  EXPECT_THAT(MessageOf(policy.status()), HasSubstr("round-robin"));
}

TEST(DecisionLogTest, KeepsTheNewest) {
  DecisionLog log(2);
  for (const char* id : {"a", "b", "c"}) log.Add({.request = {.id = RequestId(id)}});
  const auto recent = log.Recent(10);
  ASSERT_EQ(recent.size(), 2u);
  EXPECT_EQ(recent[0].request.id.value(), "c");
  EXPECT_EQ(recent[1].request.id.value(), "b");
}

}  // namespace
}  // namespace baton::router
