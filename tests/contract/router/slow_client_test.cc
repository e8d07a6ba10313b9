#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/contract/router/router_cluster.h"

namespace baton::router {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

bool Cancelled(FakeDecodeWorker& worker, const std::string& id) {
  return worker.WaitFor([&](const FakeDecodeWorker::Seen& seen) {
    for (const auto& cancel : seen.cancels) {
      if (cancel.request_id() == id && !cancel.has_choice()) return true;
    }
    return false;
  });
}

TEST(SlowClientTest, AClientThatLeavesFreesItsWorkAtOnce) {
  RouterCluster cluster;
  auto decode = cluster.AddDecode();
  RawHttp http(cluster.http());
  http.Write(RawRequest("POST", "/v1/completions", kStream));
  const std::string id = decode.worker->WaitForSubmit().sequences(0).request_id();
  http.Close();  // before any token
  EXPECT_TRUE(Cancelled(*decode.worker, id));
  EXPECT_TRUE(cluster.WaitInflight(0));
}

TEST(SlowClientTest, LeavingAWholeAnswerFreesItsWorkToo) {
  RouterCluster cluster;
  auto decode = cluster.AddDecode();
  RawHttp http(cluster.http());
  http.Write(RawRequest("POST", "/v1/completions", R"({"prompt":["x","y"],"n":2})"));
  const std::string one = decode.worker->WaitForSubmit(0).sequences(0).request_id();
  const std::string two = decode.worker->WaitForSubmit(1).sequences(0).request_id();
  decode.worker->Tokens(one, 0, cluster.Tokens("a"));
  http.Close();
  EXPECT_TRUE(Cancelled(*decode.worker, one));
  EXPECT_TRUE(Cancelled(*decode.worker, two));
  EXPECT_TRUE(cluster.WaitInflight(0));
}

// Through a proxy that cuts what is silent for long, a prompt may take its time.
TEST(SlowClientTest, ASilentStreamGetsCommentsUntilItEnds) {
  config::RouterOptions options;
  options.stream_keepalive = absl::Milliseconds(20);
  RouterCluster cluster(options);
  auto decode = cluster.AddDecode();
  RawHttp http(cluster.http());
  http.Write(RawRequest("POST", "/v1/completions", kStream));
  const std::string id = decode.worker->WaitForSubmit().sequences(0).request_id();
  EXPECT_THAT(http.ReadUntil(": waiting\n\n"), HasSubstr("text/event-stream"));
  http.ReadUntil(": waiting\n\n");
  decode.worker->Tokens(id, 0, cluster.Tokens("a"));
  EXPECT_THAT(http.ReadUntil("data: "), Not(HasSubstr("[DONE]")));
  http.ReadUntil(": waiting\n\n");
  decode.worker->Error(id, 0, static_cast<int>(absl::StatusCode::kInvalidArgument), "broken");
  EXPECT_THAT(http.ReadUntil("[DONE]\n\n"), HasSubstr("broken"));
  // The connection serves the next request, and no comment gets into its answer.
  http.ReadUntil("0\r\n\r\n");
  http.Write(RawRequest("GET", "/health/live", ""));
  EXPECT_THAT(http.ReadUntil("}"), Not(HasSubstr("waiting")));
}

TEST(SlowClientTest, WithoutKeepaliveAFailureKeepsItsStatus) {
  config::RouterOptions options;
  options.stream_keepalive = absl::ZeroDuration();
  RouterCluster cluster(options);
  auto decode = cluster.AddDecode();
  RawHttp http(cluster.http());
  http.Write(RawRequest("POST", "/v1/completions", kStream));
  const std::string id = decode.worker->WaitForSubmit().sequences(0).request_id();
  decode.worker->Error(id, 0, static_cast<int>(absl::StatusCode::kInvalidArgument), "broken");
  EXPECT_THAT(http.ReadUntil("\r\n"), HasSubstr("400"));
}

TEST(SlowClientTest, AClientThatDoesNotReadIsCutOffAtTheBoundAndOthersGoOn) {
  config::RouterOptions options;
  options.stream_buffer_bytes_max = config::KiB(64);
  RouterCluster cluster(options);
  auto decode = cluster.AddDecode();
  RawHttp stalled(cluster.http(), /*narrow=*/true);
  stalled.Write(RawRequest("POST", "/v1/completions", kStream));
  const std::string id = decode.worker->WaitForSubmit().sequences(0).request_id();
  const std::vector<int32_t> many(200, cluster.Tokens(" prompt")[0]);
  // More than the kernel's buffers and the bound together; nobody reads.
  for (int i = 0; i < 60'000 && cluster.router().inflight() > 0; ++i) {
    decode.worker->Tokens(id, 0, many);
  }
  EXPECT_TRUE(Cancelled(*decode.worker, id));
  EXPECT_TRUE(cluster.WaitInflight(0));
  EXPECT_EQ(Call(cluster.http(), "GET", "/health/live").status, 200);
}

TEST(SlowClientTest, AHeaderThatNeverEndsIsAnsweredWith408) {
  config::RouterOptions options;
  options.header_timeout = absl::Milliseconds(100);
  RouterCluster cluster(options);
  RawHttp http(cluster.http());
  http.Write("GET /v1/models HTTP/1.1\r\nHost:");
  const auto response = http.Read();
  ASSERT_TRUE(response.has_value());
  EXPECT_EQ(response->status, 408);
  EXPECT_TRUE(http.ReadEnd());
}

TEST(SlowClientTest, ABodyThatNeverEndsIsAnsweredWith408) {
  config::RouterOptions options;
  options.body_timeout = absl::Milliseconds(100);
  RouterCluster cluster(options);
  RawHttp http(cluster.http());
  http.Write("POST /v1/completions HTTP/1.1\r\nHost: t\r\nContent-Length: 100\r\n\r\n{");
  EXPECT_EQ(http.Read()->status, 408);
}

TEST(SlowClientTest, BeyondTheLimitOfConnectionsItIs503) {
  config::RouterOptions options;
  options.connections_max = 2;
  RouterCluster cluster(options);
  RawHttp one(cluster.http());
  RawHttp two(cluster.http());
  one.Write(RawRequest("GET", "/health/live", ""));
  two.Write(RawRequest("GET", "/health/live", ""));
  ASSERT_EQ(one.Read()->status, 200);
  ASSERT_EQ(two.Read()->status, 200);
  RawHttp three(cluster.http());
  const auto response = three.Read();
  ASSERT_TRUE(response.has_value());
  EXPECT_EQ(response->status, 503);
  EXPECT_TRUE(response->headers.contains("retry-after"));
}

TEST(SlowClientTest, DrainingFinishesWhatRunsAndTakesNothingNew) {
  RouterCluster cluster;
  auto decode = cluster.AddDecode();
  RawHttp http(cluster.http());
  RawHttp late(cluster.http());
  late.Write(RawRequest("GET", "/health/live", ""));
  ASSERT_EQ(late.Read()->status, 200);
  http.Write(RawRequest("POST", "/v1/completions", kStream));
  const std::string id = decode.worker->WaitForSubmit().sequences(0).request_id();
  cluster.router().Drain();
  EXPECT_TRUE(late.ReadEnd());  // idle: closed
  decode.worker->Tokens(id, 0, cluster.Tokens("end"), v1::FINISH_REASON_LENGTH);
  const auto response = http.Read();
  ASSERT_TRUE(response.has_value());
  EXPECT_EQ(SseData(response->body).back(), "[DONE]");
  EXPECT_TRUE(cluster.WaitInflight(0));
}

}  // namespace
}  // namespace baton::router
