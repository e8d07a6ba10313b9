// Who goes next among those that wait in the router, over real sockets.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/contract/router/queue_cluster.h"

namespace baton::router {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsSupersetOf;

TEST(QueueOrderTest, WhatCannotBeginWaitsInTheRouterAndTheMoreUrgentGoesFirst) {
  QueueCluster cluster;
  cluster.Send({"running"});
  ASSERT_EQ(cluster.WaitBegun(1), "running");
  cluster.SendToWait({.id = "low", .fields = R"("priority":5)"});
  cluster.SendToWait({"normal"});
  cluster.SendToWait({.id = "urgent", .fields = R"("priority":-5)"});
  cluster.SendToWait({"normal-too"});
  EXPECT_EQ(cluster.Begun().size(), 1u);
  for (size_t i = 0; i < 5; ++i) cluster.End(i);
  EXPECT_THAT(cluster.Begun(), ElementsAre("running", "urgent", "normal", "normal-too", "low"));
  EXPECT_EQ(cluster.ClientNamed("low").Read()->status, 200);
}

// Prompts and outputs of different sizes, 24 of each tenant, one at a time. Whoever goes next is
// the one that is behind, so at no time is anybody further ahead than by one request of each.
TEST(QueueOrderTest, TenantsShareTokensByTheirWeights) {
  QueueCluster cluster(QueueOptions({{"gold", 3}, {"free", 1}}));
  constexpr int kEach = 24;
  cluster.Send({"running"});
  ASSERT_EQ(cluster.WaitBegun(1), "running");
  for (int i = 0; i < kEach; ++i) {
    // Begins differ, so that no prompt is taken for cached.
    const std::string number = std::to_string(100 + i);
    cluster.SendToWait({"gold" + number, "gold", "", number + std::string(37, 'g')});
    cluster.SendToWait({"free" + number, "free", "", number + std::string(87, 'f')});
  }
  std::map<std::string, int> requests;
  std::map<std::string, double> tokens;
  std::map<std::string, double> largest;
  cluster.End(0);
  for (int i = 1; requests["gold"] < kEach; ++i) {
    const std::string tenant = cluster.WaitBegun(i + 1).substr(0, 4);
    const int output = tenant == "gold" ? 20 : 10;
    const int prompt = cluster.worker().WaitForSubmit(i).sequences(0).prompt_size();
    cluster.End(i, output);
    ++requests[tenant];
    tokens[tenant] += prompt + output;
    largest[tenant] = std::max<double>(largest[tenant], prompt + output);
    EXPECT_LE(std::abs(tokens["gold"] / 3 - tokens["free"]), largest["gold"] / 3 + largest["free"]);
  }
  EXPECT_GE(requests["free"], 3) << "a third of gold's tokens";
  EXPECT_TRUE(cluster.cluster().WaitFor([&](const auto& debug) {
    const auto& gold = debug["queue"]["tenants"][2];
    return gold["name"] == "gold" && gold["output_tokens"] == kEach * 20 &&
           gold["prompt_tokens"] == tokens["gold"] - kEach * 20;
  }));
}

TEST(QueueOrderTest, ByDeadlineWhoseTimeEndsFirstGoesFirst) {
  config::RouterOptions options;
  options.queue.order = config::QueueOrder::kDeadline;
  QueueCluster cluster(options);
  cluster.Send({"running"});
  ASSERT_EQ(cluster.WaitBegun(1), "running");
  cluster.SendToWait({"whenever"});
  cluster.SendToWait({.id = "later", .fields = R"("timeout":120)"});
  cluster.SendToWait({.id = "soon", .fields = R"("timeout":60)"});
  for (size_t i = 0; i < 4; ++i) cluster.End(i);
  EXPECT_THAT(cluster.Begun(), ElementsAre("running", "soon", "later", "whenever"));
}

// There is always a shorter one; after `aging` it is the long one's turn.
TEST(QueueOrderTest, ByLengthTheShorterGoesFirstButNobodyStarves) {
  config::RouterOptions options;
  options.queue.order = config::QueueOrder::kShortest;
  options.queue.aging = absl::Milliseconds(300);
  QueueCluster cluster(options);
  cluster.Send({"running"});
  ASSERT_EQ(cluster.WaitBegun(1), "running");
  cluster.SendToWait({.id = "long", .prompt = std::string(200, 'l')});
  cluster.SendToWait({"short0"});
  size_t ended = 0;
  for (bool begun = false; !begun; ++ended) {
    ASSERT_LT(ended, 2000u) << "the long one starves";
    cluster.SendToWait({"short" + std::to_string(ended + 1)});
    cluster.End(ended);
    begun = cluster.WaitBegun(ended + 2) == "long";
    ASSERT_TRUE(cluster.WaitWaiting(2));
  }
  EXPECT_GE(ended, 2u) << "short ones went ahead";
  const auto page = cluster.Page("long");
  EXPECT_GE(page["router_queue_ms"], 300);
}

TEST(QueueOrderTest, EachChoiceTakesAPlace) {
  QueueCluster cluster({}, /*batch=*/3);
  cluster.Send({.id = "pair", .fields = R"("n":2)"});
  ASSERT_EQ(cluster.WaitBegun(1), "pair");
  cluster.SendToWait({.id = "second-pair", .fields = R"("n":2)"});
  cluster.SendToWait({"behind-it"});
  EXPECT_EQ(cluster.Begun().size(), 1u) << "a place is free, but not for the one whose turn it is";
  // One choice of the first pair ends.
  const std::string id = cluster.worker().WaitForSubmit(0).sequences(0).request_id();
  cluster.worker().Tokens(id, 1, cluster.cluster().Tokens("a"), v1::FINISH_REASON_LENGTH);
  EXPECT_EQ(cluster.WaitBegun(2), "second-pair");
  ASSERT_TRUE(cluster.WaitWaiting(1));
  cluster.worker().Tokens(id, 0, cluster.cluster().Tokens("a"), v1::FINISH_REASON_LENGTH);
  EXPECT_EQ(cluster.WaitBegun(3), "behind-it");
}

TEST(QueueOrderTest, ARequestOfMoreChoicesThanAWorkerTakesHasItToItself) {
  QueueCluster cluster({}, /*batch=*/2);
  cluster.Send({"running"});
  ASSERT_EQ(cluster.WaitBegun(1), "running");
  cluster.SendToWait({.id = "many", .fields = R"("n":5)"});
  cluster.End(0);
  EXPECT_EQ(cluster.WaitBegun(2), "many");
  EXPECT_EQ(cluster.worker().WaitForSubmit(1).sequences_size(), 5);
  ASSERT_TRUE(cluster.WaitWaiting(0));
  cluster.SendToWait({"after"});
  cluster.End(1);
  EXPECT_EQ(cluster.WaitBegun(3), "after");
}

TEST(QueueOrderTest, AWorkerThatJoinsBeginsWithThoseWhoWait) {
  QueueCluster cluster;
  cluster.Send({"running"});
  ASSERT_EQ(cluster.WaitBegun(1), "running");
  cluster.SendToWait({"first"});
  cluster.SendToWait({"second"});
  auto joined = cluster.AddDecode("decode-1", 1);
  EXPECT_EQ(ChosenId(joined.worker->WaitForSubmit().sequences(0).request_id()), "first");
  ASSERT_TRUE(cluster.WaitWaiting(1));
  EXPECT_EQ(cluster.Begun().size(), 1u);
}

// It had its turn, and its client has some of its text.
TEST(QueueOrderTest, ARequestThatLostItsWorkerGoesInFrontOfThoseWhoWait) {
  QueueCluster cluster;
  auto other = cluster.AddDecode("decode-1", 1);
  cluster.Send({"one"});
  cluster.Send({"two"});
  const std::string lost = cluster.WaitBegun(1);
  const std::string kept_id = other.worker->WaitForSubmit().sequences(0).request_id();
  cluster.SendToWait({.id = "urgent", .fields = R"("priority":-100)"});
  cluster.worker().Die();
  EXPECT_EQ(ChosenId(other.worker->WaitForSubmit(1).sequences(0).request_id()), lost);
  other.worker->Tokens(kept_id, 0, cluster.cluster().Tokens("a"), v1::FINISH_REASON_LENGTH);
  // The place that has come free is the one that it has taken already.
  EXPECT_EQ(cluster.ClientNamed(ChosenId(kept_id)).Read()->status, 200);
  EXPECT_EQ(other.worker->seen().submits.size(), 2u);
  const std::string lost_id = other.worker->WaitForSubmit(1).sequences(0).request_id();
  other.worker->Tokens(lost_id, 0, cluster.cluster().Tokens("b"), v1::FINISH_REASON_LENGTH);
  EXPECT_EQ(ChosenId(other.worker->WaitForSubmit(2).sequences(0).request_id()), "urgent");
}

// What has to leave a draining worker had its turn, too: a place that comes free is not given away.
TEST(QueueOrderTest, ARequestOnADrainingWorkerGoesInFrontOfThoseWhoWait) {
  QueueCluster cluster;
  cluster.Send({.id = "moves", .fields = R"("stream":true)"});
  const std::string id = cluster.worker().WaitForSubmit().sequences(0).request_id();
  cluster.worker().Tokens(id, 0, cluster.cluster().Tokens("a"));
  cluster.ClientNamed("moves").ReadUntil("\"text\":\"a\"");
  auto other = cluster.AddDecode("decode-1", 1);
  cluster.Send({"stays"});
  const std::string stays = other.worker->WaitForSubmit().sequences(0).request_id();
  cluster.SendToWait({.id = "urgent", .fields = R"("priority":-100)"});
  v1::WorkerReport draining;
  draining.mutable_draining();
  cluster.attachment().Report(draining);
  ASSERT_TRUE(cluster.cluster().WaitFor(
      [](const auto& debug) { return debug["workers"][0]["draining"] == true; }));
  other.worker->Tokens(stays, 0, cluster.cluster().Tokens("b"), v1::FINISH_REASON_LENGTH);
  const std::string moved = other.worker->WaitForSubmit(1).sequences(0).request_id();
  EXPECT_EQ(ChosenId(moved), "moves");
  other.worker->Tokens(moved, 0, cluster.cluster().Tokens("c"), v1::FINISH_REASON_LENGTH);
  EXPECT_EQ(ChosenId(other.worker->WaitForSubmit(2).sequences(0).request_id()), "urgent");
}

TEST(QueueOrderTest, PlacesThatOtherRoutersHaveTakenAreKnownFromTheReports) {
  QueueCluster cluster;
  v1::Load load;
  load.set_running(1);
  cluster.attachment().ReportLoad(load);
  cluster.attachment().ReportLoad(load);
  const auto others = [](int count) {
    return [count](const auto& debug) {
      return debug["workers"][0]["load"]["other_sequences"] == count;
    };
  };
  ASSERT_TRUE(cluster.cluster().WaitFor(others(1)));
  cluster.SendToWait({"waits"});
  load.set_running(0);
  cluster.attachment().ReportLoad(load);
  EXPECT_EQ(cluster.WaitBegun(1), "waits");
}

TEST(QueueOrderTest, APromptWaitsForBlocks) {
  QueueCluster cluster({}, /*batch=*/8);
  cluster.Send({"running"});
  ASSERT_EQ(cluster.WaitBegun(1), "running");
  v1::Load load;
  load.set_running(1);
  load.set_blocks_total(10);
  load.set_blocks_free(1);
  load.set_blocks_cached(1);
  cluster.attachment().ReportLoad(load);
  ASSERT_TRUE(cluster.cluster().WaitFor(
      [](const auto& debug) { return debug["workers"][0]["load"]["blocks_free"] == 1; }));
  cluster.SendToWait({.id = "long", .prompt = std::string(100, 'l')});
  load.set_blocks_free(9);
  cluster.attachment().ReportLoad(load);
  EXPECT_EQ(cluster.WaitBegun(2), "long");
}

TEST(QueueOrderTest, TheRequestsPageTellsTheWait) {
  QueueCluster cluster(QueueOptions({{"gold", 3}}));
  cluster.Send({"running"});
  ASSERT_EQ(cluster.WaitBegun(1), "running");
  EXPECT_TRUE(cluster.Page("running")["router_queue_ms"].is_null());
  cluster.SendToWait({"waits", "gold"});
  auto page = cluster.Page("waits");
  EXPECT_EQ(page["state"], "waiting");
  EXPECT_EQ(page["tenant"], "gold");
  EXPECT_TRUE(page["placements"].empty());
  const auto queue = cluster.cluster().DebugCluster()["queue"];
  EXPECT_EQ(queue["waiting"], 1);
  EXPECT_EQ(queue["lines"].size(), 2u);
  EXPECT_EQ(queue["lines"][1]["tenant"], "gold");
  cluster.End(0);
  ASSERT_EQ(cluster.WaitBegun(2), "waits");
  cluster.End(1);
  ASSERT_EQ(cluster.ClientNamed("waits").Read()->status, 200);
  page = cluster.Page("waits");
  EXPECT_GT(page["router_queue_ms"], 0);
  EXPECT_LE(page["router_queue_ms"], page["placements"][0]["after_ms"]);
  EXPECT_THAT(cluster.cluster().Get("/metrics").body,
              HasSubstr(R"(baton_router_queue_wait_seconds_count{urgency="normal"} 1)"));
}

}  // namespace
}  // namespace baton::router
