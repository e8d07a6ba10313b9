#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/contract/router/router_cluster.h"

namespace baton::router {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using Json = nlohmann::ordered_json;

TEST(WorkerLossTest, WithNoWorkerItIs503AtOnce) {
  RouterCluster cluster;
  const RawResponse response = cluster.Post(kText, R"({"prompt":"x"})");
  EXPECT_EQ(response.status, 503);
  EXPECT_EQ(response.headers.at("retry-after"), "1");
  EXPECT_EQ(response.json()["error"]["code"], "no_worker");
  EXPECT_EQ(Call(cluster.http(), "GET", "/health/ready").status, 503);
}

TEST(WorkerLossTest, WhereThatIsWantedARequestWaitsForTheNextWorkerThatComes) {
  config::RouterOptions options;
  options.queue.without_workers = true;
  RouterCluster cluster(options);
  // What the model's workers are like is not known yet.
  EXPECT_EQ(cluster.Post(kText, R"({"prompt":"x"})").json()["error"]["code"], "no_worker");
  EXPECT_FALSE(Call(cluster.http(), "GET", "/health/ready").status == 200);
  {
    auto first = cluster.AddDecode("decode-0");
    EXPECT_TRUE(cluster.WaitReady());
  }
  ASSERT_TRUE(cluster.WaitFor([](const Json& page) { return page["workers"].empty(); }));
  EXPECT_EQ(Call(cluster.http(), "GET", "/health/ready").status, 200);
  RawHttp http(cluster.http());
  http.Write(RawRequest("POST", kText, kStream));
  ASSERT_TRUE(cluster.WaitFor([](const Json& page) { return page["queue"]["waiting"] == 1; }));
  const std::string metrics = cluster.Get("/metrics").body;
  EXPECT_THAT(metrics, HasSubstr("baton_requests_without_worker_total{model=\"test-model\"} 1\n"));
  EXPECT_THAT(metrics, HasSubstr("baton_requests_accepted_total{model=\"test-model\"} 1\n"));
  auto second = cluster.AddDecode("decode-1");
  const std::string id = second.worker->WaitForSubmit().sequences(0).request_id();
  second.worker->Tokens(id, 0, cluster.Tokens("a"), v1::FINISH_REASON_LENGTH);
  const auto response = http.Read();
  ASSERT_TRUE(response.has_value());
  EXPECT_EQ(response->status, 200);
  EXPECT_EQ(SseData(response->body).back(), "[DONE]");
}

TEST(WorkerLossTest, ANewRequestWaitsForTheOnlyWorkerWhenThatMissesItsReports) {
  RouterCluster cluster;
  auto only = cluster.AddDecode(
      "decode-0", [](v1::Registration& registration) { registration.set_heartbeat_ms(200); });
  ASSERT_TRUE(cluster.WaitFor([](const Json& page) {
    return page["workers"].size() == 1 && page["workers"][0]["report_age_ms"] > 3 * 200;
  }));
  RawHttp http(cluster.http());
  http.Write(RawRequest("POST", kText, kStream));
  ASSERT_TRUE(cluster.WaitFor([](const Json& page) { return page["queue"]["waiting"] == 1; }));
  EXPECT_TRUE(only.worker->seen().submits.empty());
  only.worker->AnswerAll(cluster.Tokens("heard"), v1::FINISH_REASON_LENGTH);
  only.attachment->ReportLoad({});
  EXPECT_THAT(http.ReadUntil("[DONE]"), HasSubstr("\"finish_reason\":\"length\""));
}

TEST(WorkerLossTest, ANewRequestWaitsForTheSuccessorOfTheOnlyWorker) {
  RouterCluster cluster;
  {
    auto first = cluster.AddDecode("decode-0");
    EXPECT_TRUE(cluster.WaitReady());
  }
  ASSERT_TRUE(cluster.WaitFor([](const Json& page) { return page["workers"].empty(); }));
  EXPECT_EQ(Call(cluster.http(), "GET", "/health/ready").status, 503) << "others may have one";
  RawHttp http(cluster.http());
  http.Write(RawRequest("POST", kText, kStream));
  ASSERT_TRUE(cluster.WaitFor([](const Json& page) { return page["queue"]["waiting"] == 1; }));
  auto second = cluster.AddDecode("decode-1");
  const std::string id = second.worker->WaitForSubmit().sequences(0).request_id();
  second.worker->Tokens(id, 0, cluster.Tokens("a"), v1::FINISH_REASON_LENGTH);
  EXPECT_THAT(http.ReadUntil("[DONE]"), HasSubstr("\"finish_reason\":\"length\""));
}

TEST(WorkerLossTest, NobodyWaitsLongerForAWorkerThanItMay) {
  config::RouterOptions options;
  options.queue.worker_wait = absl::Milliseconds(300);
  RouterCluster cluster(options);
  {
    auto only = cluster.AddDecode("decode-0");
    EXPECT_TRUE(cluster.WaitReady());
  }
  ASSERT_TRUE(cluster.WaitFor([](const Json& page) { return page["workers"].empty(); }));
  for (const std::string_view when : {"while one is expected", "when none is any more"}) {
    const RawResponse response = cluster.Post(kText, R"({"prompt":"x"})");
    EXPECT_EQ(response.status, 503) << when;
    EXPECT_EQ(response.headers.at("retry-after"), "1") << when;
    EXPECT_EQ(response.json()["error"]["code"], "no_worker") << when;
  }
  EXPECT_TRUE(cluster.WaitInflight(0));
}

TEST(WorkerLossTest, BeforeTheFirstTokenTheRequestBeginsAnewElsewhere) {
  RouterCluster cluster;
  auto first = cluster.AddDecode("decode-0");
  RawHttp http(cluster.http());
  http.Write(RawRequest("POST", kText, kStream));
  const std::string id = first.worker->WaitForSubmit().sequences(0).request_id();
  auto second = cluster.AddDecode("decode-1");
  second.worker->AnswerAll(cluster.Tokens("saved"), v1::FINISH_REASON_LENGTH);
  first.worker->Die();
  const auto response = http.Read();
  ASSERT_TRUE(response.has_value());
  EXPECT_EQ(response->status, 200);
  EXPECT_EQ(SseData(response->body).back(), "[DONE]");
  const v1::Sequence again = second.worker->WaitForSubmit().sequences(0);
  EXPECT_EQ(again.request_id(), id + "~2") << "one name per attempt";
  EXPECT_EQ(again.resumed_tokens(), 0);
}

// A request of one token, "a", goes on at `second` with "b" from where the client has it, and is
// over for `first`.
void ExpectGoesOn(RawHttp& http, RouterCluster::Decode& first, const std::string& id,
                  RouterCluster::Decode& second) {
  EXPECT_THAT(http.ReadUntil("[DONE]"), HasSubstr("\"text\":\"b\""));
  EXPECT_EQ(second.worker->WaitForSubmit().sequences(0).resumed_tokens(), 1);
  EXPECT_TRUE(first.worker->WaitFor([&](const FakeDecodeWorker::Seen& seen) {
    return !seen.cancels.empty() && seen.cancels.front().request_id() == id;
  })) << "should it go on, it does not go on with this";
}

// Begins it: its id.
std::string BeginWithA(RouterCluster& cluster, RawHttp& http, RouterCluster::Decode& first) {
  http.Write(RawRequest("POST", kText, kStream));
  const std::string id = first.worker->WaitForSubmit().sequences(0).request_id();
  first.worker->Tokens(id, 0, cluster.Tokens("a"));
  http.ReadUntil("\"text\":\"a\"");
  return id;
}

// It reports in time and its stream stands: only its tokens do not come.
TEST(WorkerLossTest, ARequestLeavesAWorkerWhoseEngineHangs) {
  RouterCluster cluster;
  auto first = cluster.AddDecode("decode-0");
  RawHttp http(cluster.http());
  const std::string id = BeginWithA(cluster, http, first);
  auto second = cluster.AddDecode("decode-1");
  second.worker->AnswerAll(cluster.Tokens("b"), v1::FINISH_REASON_LENGTH);
  v1::Load load;
  load.set_stalled(true);
  first.attachment->ReportLoad(load);
  ExpectGoesOn(http, first, id, second);
}

// Stopped, or cut off: the stream still stands, and will for a while.
TEST(WorkerLossTest, ARequestLeavesAWorkerThatHasFallenSilent) {
  RouterCluster cluster;
  auto first = cluster.AddDecode(
      "decode-0", [](v1::Registration& registration) { registration.set_heartbeat_ms(250); });
  RawHttp http(cluster.http());
  const std::string id = BeginWithA(cluster, http, first);
  auto second = cluster.AddDecode("decode-1");
  second.worker->AnswerAll(cluster.Tokens("b"), v1::FINISH_REASON_LENGTH);
  ExpectGoesOn(http, first, id, second);
}

// Better to wait for it than to have nobody.
TEST(WorkerLossTest, ARequestStaysOnASilentWorkerThatIsTheOnlyOne) {
  RouterCluster cluster;
  auto only = cluster.AddDecode(
      "decode-0", [](v1::Registration& registration) { registration.set_heartbeat_ms(200); });
  RawHttp http(cluster.http());
  http.Write(RawRequest("POST", kText, kStream));
  const std::string id = only.worker->WaitForSubmit().sequences(0).request_id();
  EXPECT_TRUE(cluster.WaitFor([](const auto& debug) {
    return debug["workers"][0]["report_age_ms"] > 8 * 200;  // others would have been left at six
  }));
  only.worker->Tokens(id, 0, cluster.Tokens("a"), v1::FINISH_REASON_LENGTH);
  EXPECT_THAT(http.ReadUntil("[DONE]"), HasSubstr("\"text\":\"a\""));
}

config::RouterOptions Impatient() {
  config::RouterOptions options;
  options.resume_timeout = absl::Milliseconds(200);
  return options;
}

TEST(WorkerLossTest, BeforeTheFirstByteAndWithNobodyElseInTimeItIs503) {
  RouterCluster cluster(Impatient());
  auto decode = cluster.AddDecode();
  RawHttp http(cluster.http());
  http.Write(RawRequest("POST", kText, kStream));
  decode.worker->WaitForSubmit();
  decode.worker->Die();
  const auto response = http.Read();
  ASSERT_TRUE(response.has_value());
  EXPECT_EQ(response->status, 503);
  EXPECT_THAT(response->body, HasSubstr("decode worker was lost"));
  EXPECT_TRUE(cluster.WaitInflight(0));
}

TEST(WorkerLossTest, ThatIsSoWhereNewRequestsWaitForWorkersWithoutEnd) {
  config::RouterOptions options = Impatient();
  options.queue.without_workers = true;
  RouterCluster cluster(options);
  auto decode = cluster.AddDecode();
  RawHttp http(cluster.http());
  http.Write(RawRequest("POST", kText, kStream));
  decode.worker->WaitForSubmit();
  decode.worker->Die();
  decode.attachment->Break();
  const auto response = http.Read();
  ASSERT_TRUE(response.has_value());
  EXPECT_EQ(response->status, 503);
  EXPECT_TRUE(cluster.WaitInflight(0));
}

TEST(WorkerLossTest, AfterTheFirstTokenAndWithNobodyElseInTimeTheStreamEndsInAnErrorEvent) {
  RouterCluster cluster(Impatient());
  auto decode = cluster.AddDecode();
  RawHttp http(cluster.http());
  http.Write(RawRequest("POST", kText, kStream));
  const std::string id = decode.worker->WaitForSubmit().sequences(0).request_id();
  decode.worker->Tokens(id, 0, cluster.Tokens("a"));
  http.ReadUntil("data: ");  // it has reached the client
  decode.worker->Die();
  const std::string rest = http.ReadUntil("data: [DONE]");
  EXPECT_THAT(rest, HasSubstr("decode worker was lost"));
  EXPECT_THAT(rest, HasSubstr("service_unavailable_error"));
}

TEST(WorkerLossTest, AfterTheFirstTokenTheRequestGoesOnElsewhereFromWhatTheClientHas) {
  RouterCluster cluster;
  auto first = cluster.AddDecode("decode-0");
  RawHttp http(cluster.http());
  http.Write(
      RawRequest("POST", kText, R"({"prompt":"x","stream":true,"max_tokens":8,"seed":7,"n":2})"));
  const v1::SubmitSequences begun = first.worker->WaitForSubmit();
  const std::string id = begun.sequences(0).request_id();
  const std::vector<int32_t> output = cluster.Tokens("abc");
  const int sent = static_cast<int>(output.size());
  first.worker->Tokens(id, 0, output);
  first.worker->Tokens(id, 1, cluster.Tokens("z"), v1::FINISH_REASON_LENGTH);
  const std::string head = http.ReadUntil("\"z\"");
  auto second = cluster.AddDecode("decode-1");
  first.worker->Die();

  const v1::SubmitSequences rest = second.worker->WaitForSubmit();
  ASSERT_EQ(rest.sequences_size(), 1) << "the second choice had ended";
  const v1::Sequence& sequence = rest.sequences(0);
  EXPECT_EQ(sequence.choice(), 0);
  EXPECT_EQ(sequence.prompt_size(), begun.sequences(0).prompt_size() + sent);
  EXPECT_EQ(sequence.resumed_tokens(), sent);
  EXPECT_EQ(sequence.sampling().max_tokens(), 8 - sent);
  EXPECT_EQ(sequence.sampling().seed(), 7u);
  // What a worker still says about the attempt before is nobody's news.
  second.worker->Tokens(id, 0, cluster.Tokens("?"));
  second.worker->Tokens(sequence.request_id(), 0, cluster.Tokens("de"), v1::FINISH_REASON_LENGTH);
  const std::string tail = http.ReadUntil("data: [DONE]");
  EXPECT_THAT(head + tail, Not(HasSubstr("?")));
  EXPECT_THAT(tail, HasSubstr("\"d"));
  EXPECT_THAT(tail, Not(HasSubstr("error")));
  EXPECT_TRUE(cluster.WaitInflight(0));
}

TEST(WorkerLossTest, ARunningRequestWaitsForAWorkerToComeBack) {
  RouterCluster cluster;
  auto decode = cluster.AddDecode("decode-0");
  RawHttp http(cluster.http());
  http.Write(RawRequest("POST", kText, kStream));
  const std::string id = decode.worker->WaitForSubmit().sequences(0).request_id();
  decode.worker->Tokens(id, 0, cluster.Tokens("wait "));
  http.ReadUntil("data: ");
  decode.worker->Die();
  decode.attachment->Break();
  ASSERT_TRUE(cluster.WaitReady(503));
  auto again = cluster.AddDecode("decode-0-restarted");
  again.worker->AnswerAll(cluster.Tokens("!"), v1::FINISH_REASON_LENGTH);
  EXPECT_THAT(http.ReadUntil("data: [DONE]"), HasSubstr("\"!\""));
}

TEST(WorkerLossTest, ARequestThatBringsDownWorkerAfterWorkerIsGivenUp) {
  RouterCluster cluster;
  RawHttp http(cluster.http());
  std::vector<RouterCluster::Decode> workers;
  for (int i = 0; i < 3; ++i) {
    workers.push_back(cluster.AddDecode("decode-" + std::to_string(i)));
    if (i == 0) http.Write(RawRequest("POST", kText, kStream));
    workers.back().worker->WaitForSubmit();
    workers.back().worker->Die();
  }
  const auto response = http.Read();
  ASSERT_TRUE(response.has_value());
  EXPECT_EQ(response->status, 503);
}

TEST(WorkerLossTest, AFullWorkerMeansAnotherOneAndThen429) {
  RouterCluster cluster;
  auto decode = cluster.AddDecode();
  RawHttp http(cluster.http());
  http.Write(RawRequest("POST", kText, kStream));
  const std::string id = decode.worker->WaitForSubmit().sequences(0).request_id();
  decode.worker->Error(id, 0, static_cast<int>(absl::StatusCode::kResourceExhausted),
                       "the queue is full");
  const auto response = http.Read();
  ASSERT_TRUE(response.has_value());
  EXPECT_EQ(response->status, 429);
  EXPECT_TRUE(response->headers.contains("retry-after"));
}

TEST(WorkerLossTest, AWorkerThatRefusesForItsOwnReasonsIsNotTheClientsFault) {
  RouterCluster cluster;
  auto decode = cluster.AddDecode();
  RawHttp http(cluster.http());
  http.Write(RawRequest("POST", kText, kStream));
  const std::string id = decode.worker->WaitForSubmit().sequences(0).request_id();
  decode.worker->Error(id, 0, static_cast<int>(absl::StatusCode::kFailedPrecondition),
                       "the worker is draining");
  const auto response = http.Read();
  ASSERT_TRUE(response.has_value());
  EXPECT_EQ(response->status, 503);
  EXPECT_TRUE(response->headers.contains("retry-after"));
}

TEST(WorkerLossTest, AnAttachmentThatBreaksTakesTheWorkerOutOfThePicture) {
  RouterCluster cluster;
  auto decode = cluster.AddDecode();
  ASSERT_TRUE(cluster.WaitReady());
  decode.attachment->Break();
  EXPECT_TRUE(cluster.WaitReady(503));
  EXPECT_TRUE(cluster.DebugCluster()["workers"].empty());
}

TEST(WorkerLossTest, ADrainingWorkerFinishesAndGetsNothingNew) {
  RouterCluster cluster;
  auto decode = cluster.AddDecode();
  RawHttp http(cluster.http());
  http.Write(RawRequest("POST", kText, kStream));
  const std::string id = decode.worker->WaitForSubmit().sequences(0).request_id();
  v1::WorkerReport draining;
  draining.mutable_draining();
  decode.attachment->Report(draining);
  ASSERT_TRUE(cluster.WaitReady(503));
  decode.worker->Tokens(id, 0, cluster.Tokens("a"), v1::FINISH_REASON_LENGTH);
  EXPECT_EQ(http.Read()->status, 200);
  EXPECT_EQ(cluster.Post(kText, R"({"prompt":"x"})").status, 503);
}

TEST(WorkerLossTest, AGapInKvEventsIsAnsweredWithOneSnapshotRequest) {
  RouterCluster cluster;
  auto decode = cluster.AddDecode();
  const auto report = [&](uint64_t number, bool snapshot) {
    v1::WorkerReport events;
    events.mutable_kv_events()->set_number(number);
    events.mutable_kv_events()->set_snapshot(snapshot);
    events.mutable_kv_events()->add_stored()->mutable_hash()->set_low(number);
    decode.attachment->Report(events);
  };
  report(1, false);
  report(2, false);
  report(5, false);
  EXPECT_TRUE(decode.attachment->WaitForSnapshotRequest(1));
  report(6, false);
  report(7, true);
  report(9, false);
  EXPECT_TRUE(decode.attachment->WaitForSnapshotRequest(2));
  EXPECT_EQ(decode.attachment->snapshot_requests(), 2);
}

TEST(WorkerLossTest, ARegistrationThatIsNotUnderstoodIsRefusedByField) {
  RouterCluster cluster;
  v1::Registration registration = cluster.RegistrationOf("w", "127.0.0.1:1");
  registration.set_protocol(7);
  FakeAttachment wrong(cluster.grpc(), registration);
  const grpc::Status status = wrong.Wait();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_THAT(status.error_message(), HasSubstr("protocol 7"));
}

TEST(WorkerLossTest, ThePrefillWorkersAddressTravelsWithTheSubmission) {
  config::RouterOptions options;
  options.placement = "always-remote";
  RouterCluster cluster(options);
  auto decode = cluster.AddDecode();
  v1::Registration registration = cluster.RegistrationOf("prefill-0", "127.0.0.1:4242");
  registration.set_role(v1::WORKER_ROLE_PREFILL);
  FakeAttachment prefill(cluster.grpc(), registration);
  ASSERT_TRUE(prefill.WaitForWelcome());
  RawHttp http(cluster.http());
  http.Write(
      RawRequest("POST", kText, R"({"prompt":")" + std::string(60, 'q') + R"(","stream":true})"));
  const v1::SubmitSequences submit = decode.worker->WaitForSubmit();
  ASSERT_EQ(submit.prefill_size(), 1);
  EXPECT_EQ(submit.prefill(0).worker_id(), "prefill-0");
  EXPECT_EQ(submit.prefill(0).grpc_address(), "127.0.0.1:4242");
}

}  // namespace
}  // namespace baton::router
