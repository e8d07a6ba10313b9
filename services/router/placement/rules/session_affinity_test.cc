#include "services/router/placement/rules/session_affinity.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <random>

#include "services/router/placement/session_key.h"
#include "services/router/placement/testing/workers.h"

namespace baton::router {
namespace {

class SessionAffinityTest : public testing::Test {
 protected:
  static constexpr int kSessions = 20000;

  static std::vector<WorkerState> Idle(int count) {
    std::vector<WorkerState> workers;
    for (int i = 0; i < count; ++i) workers.push_back(Decode("decode-" + std::to_string(100 + i)));
    return workers;
  }
  static PlacementRequest Of(uint64_t session, int32_t choices = 1) {
    return {.prompt_tokens = 100, .choices = choices, .session = session};
  }
  std::string Pick(uint64_t session, const std::vector<WorkerState>& workers) {
    Workers pointers;
    for (const WorkerState& worker : workers) pointers.push_back(&worker);
    return rule_.Pick(Of(session), pointers)->profile.id.value();
  }
  static uint64_t Session(int number) {
    return SessionKeyOf("user-" + std::to_string(number), {}, {});
  }

  const AffinityOptions options_;
  SessionAffinityRule rule_{options_};
};

TEST_F(SessionAffinityTest, EveryWorkerHasItsShareOfTheSessions) {
  const auto workers = Idle(8);
  std::map<std::string, int> shares;
  for (int i = 0; i < kSessions; ++i) ++shares[Pick(Session(i), workers)];
  ASSERT_EQ(shares.size(), 8u);
  for (const auto& [worker, share] : shares) EXPECT_NEAR(share, kSessions / 8, kSessions / 80);
}

TEST_F(SessionAffinityTest, AWorkerThatJoinsTakesItsShareAndMovesNothingElse) {
  for (const int count : {1, 3, 10, 40}) {
    const auto before = Idle(count);
    auto after = before;
    after.insert(after.begin() + count / 2, Decode("the-new-one"));
    int moved = 0;
    for (int i = 0; i < kSessions; ++i) {
      const std::string now = Pick(Session(i), after);
      if (now == Pick(Session(i), before)) continue;
      ASSERT_EQ(now, "the-new-one");
      ++moved;
    }
    const double share = static_cast<double>(kSessions) / (count + 1);
    EXPECT_NEAR(moved, share, 5 * std::sqrt(share)) << "of " << count;
  }
}

TEST_F(SessionAffinityTest, AWorkerThatLeavesGivesUpItsOwnSessionsOnlyAndToAllOthers) {
  const auto before = Idle(6);
  auto after = before;
  const std::string gone = before[2].profile.id.value();
  after.erase(after.begin() + 2);
  std::map<std::string, int> heirs;
  for (int i = 0; i < kSessions; ++i) {
    const std::string was = Pick(Session(i), before);
    const std::string now = Pick(Session(i), after);
    if (was != gone) {
      ASSERT_EQ(now, was);
    } else {
      ++heirs[now];
    }
  }
  ASSERT_EQ(heirs.size(), 5u);
  for (const auto& [heir, count] : heirs) EXPECT_NEAR(count, kSessions / 30, kSessions / 150);
}

TEST_F(SessionAffinityTest, AnOverloadedWorkersSessionsGoToTheirNextAndComeBack) {
  auto workers = Idle(4);
  const std::string home = Pick(Session(7), workers);
  for (WorkerState& worker : workers) {
    if (worker.profile.id.value() == home) worker.load.engine.running = 40;
  }
  const std::string next = Pick(Session(7), workers);
  EXPECT_NE(next, home);
  EXPECT_EQ(Pick(Session(7), workers), next);
  for (WorkerState& worker : workers) worker.load.engine.running = 40;  // all alike
  EXPECT_EQ(Pick(Session(7), workers), home);
}

TEST_F(SessionAffinityTest, AFewRequestsInAnIdleClusterAreNoOverload) {
  auto workers = Idle(16);
  const std::string home = Pick(Session(7), workers);
  for (WorkerState& worker : workers) {
    if (worker.profile.id.value() == home) worker.load.engine.running = options_.spare_sequences;
  }
  EXPECT_EQ(Pick(Session(7), workers), home);
}

// One session sends everything: the bound holds at every moment.
TEST_F(SessionAffinityTest, NoWorkerGetsBeyondTheBoundHoweverFewTheSessions) {
  std::mt19937_64 random(5);
  auto workers = Idle(10);
  int total = 0;
  for (int i = 0; i < 5000; ++i) {
    const std::string picked = Pick(Session(static_cast<int>(random() % 3)), workers);
    for (WorkerState& worker : workers) {
      if (worker.profile.id.value() != picked) continue;
      const double bound =
          options_.load_factor_max * total / workers.size() + options_.spare_sequences;
      ASSERT_LE(worker.sequences(), bound);
      ++worker.load.engine.running;
      ++total;
    }
    WorkerState& ends = workers[random() % workers.size()];
    if (ends.load.engine.running > 0 && random() % 3 == 0) {
      --ends.load.engine.running;
      --total;
    }
  }
}

TEST_F(SessionAffinityTest, TheOrderOfWorkersDoesNotMatter) {
  const auto workers = Idle(9);
  const std::vector<WorkerState> reversed(workers.rbegin(), workers.rend());
  for (int i = 0; i < 500; ++i) EXPECT_EQ(Pick(Session(i), workers), Pick(Session(i), reversed));
}

TEST(SessionKeyTest, TheUserIsTheSessionElseTheFirstBlockElseTheTokens) {
  const std::vector<kv::BlockHash> one{{.high = 1, .low = 2}, {.high = 3, .low = 4}};
  const std::vector<kv::BlockHash> other{{.high = 1, .low = 2}, {.high = 5, .low = 6}};
  const std::vector<int32_t> tokens{1, 2, 3};
  EXPECT_EQ(SessionKeyOf("ann", one, tokens), SessionKeyOf("ann", {}, {}));
  EXPECT_NE(SessionKeyOf("ann", one, tokens), SessionKeyOf("bob", one, tokens));
  EXPECT_EQ(SessionKeyOf("", one, tokens), SessionKeyOf("", other, {}));
  EXPECT_EQ(SessionKeyOf("", {}, tokens), SessionKeyOf("", {}, tokens));
  EXPECT_NE(SessionKeyOf("", {}, tokens), SessionKeyOf("", {}, std::vector<int32_t>{1, 3, 2}));
}

// Written down, because routers of two versions must agree.
TEST(SessionKeyTest, KeysAreTheSameInEveryBuild) {
  EXPECT_EQ(KeyOf("decode-0"), 13326549593116012465u);
  EXPECT_EQ(MixKeys(1, 2), 1667139887444314012u);
}

}  // namespace
}  // namespace baton::router
