// What holds for every policy, whatever its rule.
#include "services/router/placement/policies.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <set>

#include "common/config/placement_policies.h"
#include "services/router/placement/testing/workers.h"

namespace baton::router {
namespace {

class EveryPolicyTest : public testing::TestWithParam<std::string> {
 protected:
  std::unique_ptr<Policy> Make() const { return *MakePolicy(GetParam(), {}); }
  int Between(int low, int high) { return std::uniform_int_distribution<int>(low, high)(random_); }
  WorkerState AnyWorker(WorkerRole role, int number) {
    WorkerState worker =
        Worker(role, (role == WorkerRole::kDecode ? "d" : "p") + std::to_string(number));
    worker.profile.fingerprint = Between(0, 2) == 0 ? "old" : "new";
    worker.profile.waiting_sequences_max = 4;
    worker.profile.waiting_tokens_max = 4000;
    worker.load.engine.running = Between(0, 8);
    worker.load.engine.waiting = Between(0, 5);
    worker.load.engine.waiting_tokens = Between(0, 4000);
    worker.load.engine.blocks_free = Between(0, 1000);
    worker.added_sequences = Between(0, 2);
    worker.cached_blocks = Between(0, 3) == 0 ? Between(1, 60) : 0;
    return worker;
  }
  PlacementSnapshot AnyCluster() {
    PlacementSnapshot snapshot;
    for (int i = Between(1, 12); i > 0; --i) {
      snapshot.decode.push_back(AnyWorker(WorkerRole::kDecode, 100 - i));
    }
    for (int i = Between(0, 12); i > 0; --i) {
      snapshot.prefill.push_back(AnyWorker(WorkerRole::kPrefill, 100 - i));
    }
    return snapshot;
  }
  PlacementRequest AnyRequest() {
    PlacementRequest request = Request(Between(1, 3000), Between(1, 3));
    request.session = random_();
    return request;
  }
  static const WorkerState* Find(const std::vector<WorkerState>& workers, const WorkerId& id) {
    for (const WorkerState& worker : workers) {
      if (worker.profile.id == id) return &worker;
    }
    return nullptr;
  }

  std::mt19937_64 random_{23};
};

TEST_P(EveryPolicyTest, OnlyPairsWhatFitsAndPicksNobodyWhoIsFull) {
  auto policy = Make();
  int remote = 0;
  for (int round = 0; round < 2000; ++round) {
    const PlacementSnapshot snapshot = AnyCluster();
    const PlacementRequest request = AnyRequest();
    const Decision decision = policy->Decide(request, snapshot);
    const WorkerState* decode = Find(snapshot.decode, decision.decode);
    ASSERT_NE(decode, nullptr);
    const bool all_full = std::all_of(
        snapshot.decode.begin(), snapshot.decode.end(),
        [&](const WorkerState& w) { return Full(w, request.choices, request.prompt_tokens); });
    ASSERT_TRUE(all_full || !Full(*decode, request.choices, request.prompt_tokens));
    ASSERT_LE(decision.prefill.size(), 2u);
    for (const WorkerId& id : decision.prefill) {
      const WorkerState* prefill = Find(snapshot.prefill, id);
      ASSERT_NE(prefill, nullptr);
      ASSERT_TRUE(MayBePaired(*decode, *prefill));
      ASSERT_FALSE(Full(*prefill, 1, request.prompt_tokens));
      ++remote;
    }
    ASSERT_EQ(std::set<WorkerId>(decision.prefill.begin(), decision.prefill.end()).size(),
              decision.prefill.size());
  }
  if (GetParam() == "always-local") {
    EXPECT_EQ(remote, 0);
  } else {
    EXPECT_GT(remote, 100);
  }
}

TEST_P(EveryPolicyTest, SaysWhyAndWhatItChoseAmong) {
  auto policy = Make();
  for (int round = 0; round < 500; ++round) {
    const PlacementSnapshot snapshot = AnyCluster();
    const Decision decision = policy->Decide(AnyRequest(), snapshot);
    ASSERT_EQ(decision.policy, GetParam());
    ASSERT_FALSE(decision.reason.empty());
    const WorkerId prefill = decision.prefill.empty() ? WorkerId() : decision.prefill.front();
    ASSERT_TRUE(std::any_of(
        decision.candidates.begin(), decision.candidates.end(), [&](const Candidate& candidate) {
          return candidate.decode == decision.decode && candidate.prefill == prefill;
        }));
    ASSERT_EQ(!decision.spare.empty(), decision.reason == reason::kLocalCheaper);
    for (size_t i = 1; i < decision.candidates.size(); ++i) {
      ASSERT_LE(decision.candidates[i - 1].estimate.total_ms,
                decision.candidates[i].estimate.total_ms);
    }
  }
}

TEST_P(EveryPolicyTest, GivesTheSameDecisionsForTheSameRequestsAndSeed) {
  auto one = Make();
  auto other = Make();
  for (int round = 0; round < 500; ++round) {
    const PlacementSnapshot snapshot = AnyCluster();
    const PlacementRequest request = AnyRequest();
    const Decision a = one->Decide(request, snapshot);
    const Decision b = other->Decide(request, snapshot);
    ASSERT_EQ(a.decode, b.decode);
    ASSERT_EQ(a.prefill, b.prefill);
    ASSERT_EQ(a.reason, b.reason);
  }
}

TEST_P(EveryPolicyTest, AFullClusterStillGetsAnAnswer) {
  PlacementSnapshot snapshot{{Decode()}, {Prefill()}};
  for (auto* worker : {&snapshot.decode[0], &snapshot.prefill[0]}) {
    worker->profile.waiting_sequences_max = 1;
    worker->load.engine.waiting = 1;
  }
  const Decision decision = Make()->Decide(Request(3000), snapshot);
  EXPECT_EQ(decision.decode.value(), "d0");
  EXPECT_TRUE(decision.prefill.empty());
}

std::vector<std::string> AllNames() {
  std::vector<std::string> names;
  for (const std::string_view name : PolicyNames()) names.emplace_back(name);
  return names;
}
INSTANTIATE_TEST_SUITE_P(Policies, EveryPolicyTest, testing::ValuesIn(AllNames()),
                         [](const auto& info) {
                           std::string name = info.param;
                           std::erase(name, '-');
                           return name;
                         });

TEST(PolicyKindsTest, EachHasANameOfItsOwnAndALineAboutItself) {
  std::set<std::string_view> names;
  for (const PolicyKind& kind : PolicyKinds()) {
    EXPECT_TRUE(names.insert(kind.name).second) << kind.name;
    EXPECT_GE(kind.summary.size(), 5u) << kind.name;
    EXPECT_EQ(kind.summary.find('\n'), std::string_view::npos);
    EXPECT_EQ((*MakePolicy(kind.name, {}))->name(), kind.name);
  }
}

// Those who check a cluster file without a router at hand go by the list.
TEST(PolicyKindsTest, AreThoseThatTheConfigurationKnows) {
  EXPECT_THAT(PolicyNames(), ::testing::ElementsAreArray(config::kPlacementPolicies));
}

TEST(FullTest, AWorkerIsFullBeyondItsBatchAndItsQueue) {
  WorkerState worker = Decode();  // a batch of 8
  EXPECT_FALSE(Full(worker, 1000, 1'000'000)) << "it states no limits";
  worker.profile.waiting_sequences_max = 4;
  worker.load.engine.running = 8;
  worker.load.engine.waiting = 2;
  EXPECT_FALSE(Full(worker, 2, 100));
  EXPECT_TRUE(Full(worker, 3, 100));
  worker.added_sequences = 1;
  EXPECT_TRUE(Full(worker, 2, 100));
  worker.load.engine = {.waiting = 4};  // nothing runs, for want of blocks
  EXPECT_TRUE(Full(worker, 1, 100));
}

TEST(FullTest, AQueueOfTokensIsFullToo) {
  WorkerState worker = Decode();
  worker.profile.waiting_tokens_max = 1000;
  EXPECT_FALSE(Full(worker, 1, 5000)) << "let in where nothing else waits";
  worker.added_sequences = 1;
  worker.added_tokens = 900;
  EXPECT_FALSE(Full(worker, 1, 100));
  EXPECT_TRUE(Full(worker, 1, 101));
}

}  // namespace
}  // namespace baton::router
