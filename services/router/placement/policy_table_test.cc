#include "services/router/placement/policy_table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "services/router/placement/testing/workers.h"

namespace baton::router {
namespace {

using ::testing::HasSubstr;

class PolicyTableTest : public testing::Test {
 protected:
  static std::unique_ptr<PolicyTable> Make(std::string_view policy,
                                           const std::map<std::string, std::string>& models = {}) {
    auto table = PolicyTable::Make(policy, models, {});
    EXPECT_TRUE(table.ok()) << table.status();
    return *std::move(table);
  }
  std::string PolicyFor(PolicyTable& table, std::string_view model) {
    return table.Decide(model, Request(100), snapshot_).policy;
  }
  std::string WorkerFor(PolicyTable& table, std::string_view model) {
    return table.Decide(model, Request(100), snapshot_).decode.value();
  }
  const PlacementSnapshot snapshot_{{Decode("d0"), Decode("d1"), Decode("d2")}, {}};
};

TEST_F(PolicyTableTest, AModelGoesByItsOwnPolicyElseByEverybodys) {
  const auto table = Make("random", {{"a", "least-kv"}});
  EXPECT_EQ(PolicyFor(*table, "a"), "least-kv");
  EXPECT_EQ(PolicyFor(*table, "b"), "random");
}

TEST_F(PolicyTableTest, AChangeForAllLeavesThoseWithTheirOwnAlone) {
  const auto table = Make("random", {{"a", "least-kv"}});
  PolicyFor(*table, "a");
  PolicyFor(*table, "b");
  EXPECT_EQ(*table->Set("cost"), "random");
  EXPECT_EQ(PolicyFor(*table, "a"), "least-kv");
  EXPECT_EQ(PolicyFor(*table, "b"), "cost");
}

TEST_F(PolicyTableTest, AModelsPolicyCanBeChangedAndTakenBack) {
  const auto table = Make("cost");
  PolicyFor(*table, "a");
  EXPECT_EQ(*table->SetFor("a", "random"), "cost");
  EXPECT_EQ(PolicyFor(*table, "a"), "random");
  EXPECT_EQ(PolicyFor(*table, "b"), "cost");
  EXPECT_EQ(table->setting().models.size(), 1u);
  EXPECT_EQ(table->Clear("a"), "random");
  EXPECT_EQ(PolicyFor(*table, "a"), "cost");
  EXPECT_TRUE(table->setting().models.empty());
}

TEST_F(PolicyTableTest, AnUnknownNameChangesNothingAndIsAnsweredWithTheKnownOnes) {
  const auto table = Make("cost");
  for (const auto& refused : {table->Set("magic"), table->SetFor("a", "magic")}) {
    EXPECT_TRUE(absl::IsInvalidArgument(refused.status()));
    EXPECT_THAT(MessageOf(refused.status()), HasSubstr("session-affinity"));
  }
  EXPECT_EQ(table->setting().policy, "cost");
  EXPECT_TRUE(table->setting().models.empty());
  const auto wrong = PolicyTable::Make("cost", {{"qwen", "magic"}}, {});
  EXPECT_THAT(MessageOf(wrong.status()), HasSubstr("qwen: there is no policy \"magic\""));
}

TEST_F(PolicyTableTest, ModelsTakeTurnsIndependentlyOfEachOther) {
  const auto table = Make("round-robin");
  EXPECT_EQ(WorkerFor(*table, "a"), "d0");
  EXPECT_EQ(WorkerFor(*table, "b"), "d0");
  EXPECT_EQ(WorkerFor(*table, "a"), "d1");
}

TEST_F(PolicyTableTest, ThePolicyInForceAlreadyGoesOnWithItsTurns) {
  const auto table = Make("round-robin");
  EXPECT_EQ(WorkerFor(*table, "a"), "d0");
  EXPECT_EQ(*table->Set("round-robin"), "round-robin");
  EXPECT_EQ(WorkerFor(*table, "a"), "d1");
  EXPECT_EQ(*table->SetFor("a", "round-robin"), "round-robin");
  EXPECT_EQ(WorkerFor(*table, "a"), "d2");
}

// Worth its while under the thread sanitizer.
TEST_F(PolicyTableTest, DecisionsGoOnWhileThePolicyChanges) {
  const auto table = Make("cost");
  std::atomic<bool> stop = false;
  std::atomic<int> decisions = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i) {
    threads.emplace_back([&, model = i == 0 ? "a" : "b"] {
      while (!stop) {
        const std::string policy = PolicyFor(*table, model);
        EXPECT_TRUE(policy == "cost" || policy == "random" || policy == "round-robin") << policy;
        ++decisions;
      }
    });
  }
  for (int round = 0; round < 300 || decisions < 300; ++round) {
    EXPECT_TRUE(table->Set(round % 2 == 0 ? "random" : "cost").ok());
    EXPECT_TRUE(table->SetFor("a", "round-robin").ok());
    table->Clear("a");
  }
  stop = true;
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(PolicyFor(*table, "a"), table->setting().policy);
}

}  // namespace
}  // namespace baton::router
