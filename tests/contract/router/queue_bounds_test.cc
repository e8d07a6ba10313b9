// Who is not waited for, and who stops waiting, over real sockets.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "baton/v1/inference.grpc.pb.h"
#include "common/rpc/channel.h"
#include "tests/contract/router/queue_cluster.h"

namespace baton::router {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// How both doors turn a request away.
struct Refusal {
  int http_status = 0;
  std::string code;
  std::string retry_after;
  grpc::StatusCode grpc_status = grpc::StatusCode::OK;
  std::string grpc_message;
  std::string http_message;
  bool grpc_retry_after = false;
};

Refusal Ask(RouterCluster& cluster, const std::string& tenant, int priority) {
  Refusal refusal;
  const RawResponse response = Call(cluster.http(), "POST", "/v1/completions",
                                    R"({"prompt":"x","priority":)" + std::to_string(priority) + "}",
                                    {{"x-baton-tenant", tenant}});
  refusal.http_status = response.status;
  refusal.code = response.json()["error"]["code"];
  refusal.http_message = response.json()["error"]["message"];
  refusal.retry_after = response.headers.at("retry-after");

  grpc::ClientContext context;
  context.AddMetadata("x-baton-tenant", tenant);
  v1::GenerateRequest request;
  request.set_text("x");
  request.set_priority(priority);
  const auto stub = v1::Inference::NewStub(rpc::PeerChannel(cluster.grpc()));
  const auto stream = stub->Generate(&context, request);
  v1::GenerateEvent event;
  while (stream->Read(&event)) {
  }
  const grpc::Status status = stream->Finish();
  refusal.grpc_status = status.error_code();
  refusal.grpc_message = status.error_message();
  refusal.grpc_retry_after = context.GetServerTrailingMetadata().contains("retry-after-ms");
  return refusal;
}

void ExpectRefused(const Refusal& refusal, int http_status, grpc::StatusCode grpc_status,
                   const std::string& code) {
  EXPECT_EQ(refusal.http_status, http_status);
  EXPECT_EQ(refusal.grpc_status, grpc_status);
  EXPECT_EQ(refusal.code, code);
  EXPECT_EQ(refusal.retry_after, "1") << "nothing is known of the rate";
  EXPECT_TRUE(refusal.grpc_retry_after);
  EXPECT_EQ(refusal.http_message, refusal.grpc_message) << "two doors, one behaviour";
}

TEST(QueueBoundsTest, AFullQueueIs503AndATenantsBound429AtBothDoors) {
  config::RouterOptions options = QueueOptions({{"gold", 1}, {"free", 1}});
  options.queue.requests_max = 3;
  options.queue.tenant_requests_max = {{"free", 1}};
  QueueCluster cluster(options);
  cluster.Send({"running"});
  ASSERT_EQ(cluster.WaitBegun(1), "running");
  cluster.SendToWait({"f0", "free"});
  ExpectRefused(Ask(cluster.cluster(), "free", 0), 429, grpc::StatusCode::RESOURCE_EXHAUSTED,
                "tenant_queue_full");
  cluster.SendToWait({"g0", "gold"});
  cluster.SendToWait({"g1", "gold"});
  ExpectRefused(Ask(cluster.cluster(), "gold", 0), 429, grpc::StatusCode::RESOURCE_EXHAUSTED,
                "tenant_over_share");
  ExpectRefused(Ask(cluster.cluster(), "gold", 1), 503, grpc::StatusCode::UNAVAILABLE,
                "queue_full");
  EXPECT_THAT(cluster.cluster().Get("/metrics").body,
              HasSubstr(R"(baton_router_turned_away_total{reason="tenant_queue_full"} 2)"));
  EXPECT_EQ(cluster.Begun().size(), 1u);
}

TEST(QueueBoundsTest, AMoreUrgentRequestTakesTheNewestPlaceOfALessUrgentOne) {
  config::RouterOptions options;
  options.queue.requests_max = 2;
  QueueCluster cluster(options);
  cluster.Send({"running"});
  ASSERT_EQ(cluster.WaitBegun(1), "running");
  cluster.SendToWait({.id = "old", .fields = R"("priority":1)"});
  cluster.SendToWait({.id = "new", .fields = R"("priority":1,"stream":true)"});
  cluster.Send({"urgent"});
  const auto displaced = cluster.ClientNamed("new").Read();
  ASSERT_TRUE(displaced.has_value());
  EXPECT_EQ(displaced->status, 503);
  EXPECT_EQ(displaced->json()["error"]["code"], "queue_displaced");
  EXPECT_TRUE(displaced->headers.contains("retry-after"));
  for (size_t i = 0; i < 3; ++i) cluster.End(i);
  EXPECT_THAT(cluster.Begun(), ElementsAre("running", "urgent", "old"));
}

TEST(QueueBoundsTest, PromptTokensAreBoundedToo) {
  config::RouterOptions options;
  options.queue.tokens_max = 100;
  QueueCluster cluster(options);
  cluster.Send({"running"});
  ASSERT_EQ(cluster.WaitBegun(1), "running");
  cluster.SendToWait({.id = "long", .prompt = std::string(90, 'l')});
  const auto refused = cluster.Send({.id = "another", .prompt = std::string(20, 'a')}).Read();
  ASSERT_TRUE(refused.has_value());
  EXPECT_EQ(refused->status, 503);
  EXPECT_THAT(refused->body, HasSubstr("the queue is full: 1 requests wait"));
  cluster.SendToWait({"short"});
}

TEST(QueueBoundsTest, WhoHasWaitedTooLongIsTurnedAway) {
  config::RouterOptions options;
  options.queue.wait_max = absl::Milliseconds(150);
  QueueCluster cluster(options);
  cluster.Send({"running"});
  ASSERT_EQ(cluster.WaitBegun(1), "running");
  const auto refused = cluster.Send({.id = "waits", .fields = R"("stream":true)"}).Read();
  ASSERT_TRUE(refused.has_value());
  EXPECT_EQ(refused->status, 503);
  EXPECT_EQ(refused->json()["error"]["code"], "queue_wait_too_long");
  EXPECT_TRUE(refused->headers.contains("retry-after"));
  EXPECT_GE(cluster.Page("waits")["router_queue_ms"], 150);
  cluster.End(0);
  EXPECT_EQ(cluster.ClientNamed("running").Read()->status, 200);
  EXPECT_EQ(cluster.Begun().size(), 1u);
}

TEST(QueueBoundsTest, WhoseTimeEndsWhileWaitingIsToldSo) {
  QueueCluster cluster;
  cluster.Send({"running"});
  ASSERT_EQ(cluster.WaitBegun(1), "running");
  const auto late = cluster.Send({.id = "hasty", .fields = R"("timeout":0.1)"}).Read();
  ASSERT_TRUE(late.has_value());
  EXPECT_EQ(late->status, 504);
  ASSERT_TRUE(cluster.WaitWaiting(0));
}

TEST(QueueBoundsTest, AClientThatGoesAwayLeavesTheQueue) {
  QueueCluster cluster({}, /*batch=*/2);
  cluster.Send({"running"});
  ASSERT_EQ(cluster.WaitBegun(1), "running");
  cluster.SendToWait({.id = "wide", .fields = R"("n":2)"});
  cluster.SendToWait({"behind-it"});
  cluster.ClientNamed("wide").Close();
  EXPECT_EQ(cluster.WaitBegun(2), "behind-it") << "who stood in its way is gone";
  cluster.End(0);
  cluster.End(1);
  EXPECT_EQ(cluster.ClientNamed("behind-it").Read()->status, 200);
  EXPECT_TRUE(cluster.cluster().WaitInflight(0));
  EXPECT_EQ(cluster.Begun().size(), 2u);
}

TEST(QueueBoundsTest, ADrainingRouterServesThoseWhoWait) {
  QueueCluster cluster;
  cluster.Send({"running"});
  ASSERT_EQ(cluster.WaitBegun(1), "running");
  cluster.SendToWait({"waits"});
  cluster.cluster().router().Drain();
  cluster.End(0);
  ASSERT_EQ(cluster.WaitBegun(2), "waits");
  cluster.End(1);
  EXPECT_EQ(cluster.ClientNamed("waits").Read()->status, 200);
  EXPECT_TRUE(cluster.cluster().WaitInflight(0));
}

// Every way out of a worker gives its places back: else it would end up with none.
TEST(QueueBoundsTest, PlacesComeBackHoweverARequestEnds) {
  QueueCluster cluster;
  const auto held = [](int count) {
    return [count](const auto& debug) {
      return debug["workers"][0]["load"]["held_sequences"] == count;
    };
  };
  cluster.Send({"completed"});
  ASSERT_EQ(cluster.WaitBegun(1), "completed");
  ASSERT_TRUE(cluster.cluster().WaitFor(held(1)));
  cluster.End(0);

  cluster.Send({"cancelled"});
  ASSERT_EQ(cluster.WaitBegun(2), "cancelled");
  cluster.ClientNamed("cancelled").Close();
  ASSERT_TRUE(cluster.cluster().WaitFor(held(0)));

  cluster.Send({"refused"});
  const std::string refused = cluster.worker().WaitForSubmit(2).sequences(0).request_id();
  cluster.worker().Error(refused, 0, static_cast<int>(absl::StatusCode::kResourceExhausted),
                         "full");
  EXPECT_EQ(cluster.ClientNamed("refused").Read()->status, 429);
  ASSERT_TRUE(cluster.cluster().WaitFor(held(0)));

  cluster.Send({.id = "stopped", .fields = R"("stop":"a","n":2)"});
  ASSERT_EQ(cluster.WaitBegun(4), "stopped");
  const std::string stopped = cluster.worker().WaitForSubmit(3).sequences(0).request_id();
  for (int choice : {0, 1}) {
    cluster.worker().Tokens(stopped, choice, cluster.cluster().Tokens("a"));
  }
  EXPECT_EQ(cluster.ClientNamed("stopped").Read()->status, 200);
  ASSERT_TRUE(cluster.cluster().WaitFor(held(0)));

  cluster.Send({.id = "late", .fields = R"("timeout":0.1)"});
  EXPECT_EQ(cluster.ClientNamed("late").Read()->status, 504);
  ASSERT_TRUE(cluster.cluster().WaitFor(held(0)));
}

// Eight clients at once that ask, read or go away, of two tenants and three priorities, one or two
// choices each, on a worker with two places and a queue with three.
TEST(QueueBoundsTest, UnderABusyCrowdEverybodyIsToldAndNothingIsLeftBehind) {
  config::RouterOptions options = QueueOptions({{"gold", 3}});
  options.queue.requests_max = 3;
  QueueCluster cluster(options, /*batch=*/2);
  cluster.worker().AnswerAll(cluster.cluster().Tokens("ab"), v1::FINISH_REASON_LENGTH);
  std::atomic<int> served = 0;
  std::atomic<int> refused = 0;
  const auto client = [&](int number) {
    for (int i = 0; i < 40; ++i) {
      RawHttp http(cluster.cluster().http());
      const int kind = number + 3 * i;
      const std::string body = R"({"prompt":"x","priority":)" + std::to_string(kind % 3 - 1) +
                               R"(,"n":)" + std::to_string(1 + kind % 2) + "}";
      const std::string tenant = kind % 5 < 2 ? "gold" : "nobody";
      http.Write(RawRequest("POST", "/v1/completions", body, {{"X-Baton-Tenant", tenant}}));
      if (kind % 7 == 0) continue;  // gone
      const auto response = http.Read();
      ASSERT_TRUE(response.has_value());
      if (response->status == 200) {
        ++served;
        continue;
      }
      EXPECT_TRUE(response->status == 429 || response->status == 503) << response->body;
      EXPECT_TRUE(response->headers.contains("retry-after"));
      ++refused;
    }
  };
  std::vector<std::thread> clients;
  for (int i = 0; i < 8; ++i) clients.emplace_back(client, i);
  for (std::thread& one : clients) one.join();
  EXPECT_GT(served, 0);
  EXPECT_GT(refused, 0);
  EXPECT_TRUE(cluster.cluster().WaitInflight(0));
  EXPECT_TRUE(cluster.cluster().WaitFor([](const auto& debug) {
    return debug["queue"]["waiting"] == 0 && debug["queue"]["lines"].empty() &&
           debug["workers"][0]["load"]["held_sequences"] == 0;
  }));
}

}  // namespace
}  // namespace baton::router
