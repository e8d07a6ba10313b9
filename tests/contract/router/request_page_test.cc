#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/contract/router/router_cluster.h"

namespace baton::router {
namespace {

using ::testing::HasSubstr;

constexpr char kBody[] = R"({"prompt":"x","max_tokens":2})";

v1::SequenceDelta Delta(const std::string& request, const std::vector<int32_t>& tokens) {
  v1::SequenceDelta delta;
  delta.set_request_id(request);
  for (const int32_t token : tokens) delta.add_tokens()->set_token(token);
  return delta;
}

TEST(RequestPageTest, TellsWhatWasExpectedAndWhatHappened) {
  RouterCluster cluster;
  auto decode = cluster.AddDecode();
  RawHttp http(cluster.http());
  http.Write(RawRequest("POST", "/v1/completions", kBody));
  const std::string id = decode.worker->WaitForSubmit().sequences(0).request_id();

  auto page = cluster.Get("/debug/requests/" + id).json();
  EXPECT_EQ(page["state"], "running");
  EXPECT_EQ(page["placements"].size(), 1u);
  EXPECT_EQ(page["placements"][0]["decision"]["decode"], "decode-0");
  EXPECT_TRUE(page["placements"][0]["measured"].is_null());

  v1::DecodeEvent first;
  *first.add_deltas() = Delta(id, cluster.Tokens("a"));
  auto& failure = *first.mutable_deltas(0)->mutable_times()->add_failures();
  failure.set_prefill_worker("prefill-6");
  failure.set_message("it is dead");
  ASSERT_TRUE(decode.worker->Send(first));
  v1::DecodeEvent event;
  *event.add_deltas() = Delta(id, cluster.Tokens("b"));
  auto& delta = *event.mutable_deltas(0);
  delta.set_finish(v1::FINISH_REASON_LENGTH);
  delta.mutable_times()->set_queued_ms(1.5);
  delta.mutable_times()->set_prefill_worker("prefill-7");
  ASSERT_TRUE(decode.worker->Send(event));
  const auto answer = http.Read();
  ASSERT_TRUE(answer);

  const std::string answer_id = answer->json()["id"];
  page = cluster.Get("/debug/requests/" + answer_id).json();
  EXPECT_EQ(page["state"], "completed");
  EXPECT_EQ(page["completion_tokens"], 2);
  EXPECT_EQ(page["placements"][0]["measured"]["queued_ms"], 1.5);
  EXPECT_EQ(page["placements"][0]["measured"]["prefill_worker"], "prefill-7");
  EXPECT_EQ(page["placements"][0]["measured"]["failures"][0]["prefill_worker"], "prefill-6")
      << "said with the first token only, and kept";
  EXPECT_GT(page["ttft_ms"], 0);
  EXPECT_THAT(cluster.Get("/metrics").body, HasSubstr("baton_placement_ttft_error_seconds_count"));
  EXPECT_EQ(cluster.Get("/debug/requests").json()["requests"][0]["request"], id);
}

TEST(RequestPageTest, ARequestThatNobodyKnowsIsNotFound) {
  RouterCluster cluster;
  EXPECT_EQ(cluster.Get("/debug/requests/nobody").status, 404);
  EXPECT_TRUE(cluster.Get("/debug/requests").json()["requests"].empty());
}

TEST(RequestPageTest, ALostWorkerShowsAsTwoPlacements) {
  RouterCluster cluster;
  auto first = cluster.AddDecode("decode-0");
  RawHttp http(cluster.http());
  http.Write(RawRequest("POST", "/v1/completions", kBody));
  const std::string id = first.worker->WaitForSubmit().sequences(0).request_id();
  auto second = cluster.AddDecode("decode-1");
  ASSERT_TRUE(cluster.WaitReady());
  first.worker->Die();
  const std::string again = second.worker->WaitForSubmit().sequences(0).request_id();
  const auto page = cluster.Get("/debug/requests/" + id).json();
  ASSERT_EQ(page["placements"].size(), 2u);
  EXPECT_THAT(page["placements"][0]["left_because"], HasSubstr("lost"));
  EXPECT_EQ(page["placements"][1]["decision"]["decode"], "decode-1");
}

}  // namespace
}  // namespace baton::router
