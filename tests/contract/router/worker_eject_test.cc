// A worker that answers in time and fails all the same: it is put out, and comes back when it has
// proved itself.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/status/status.h"
#include "tests/contract/router/router_cluster.h"

namespace baton::router {
namespace {

using ::testing::HasSubstr;

config::RouterOptions Placed(const std::string& policy) {
  config::RouterOptions options;
  options.placement = policy;
  return options;
}

bool IsEjected(RouterCluster& cluster, const std::string& id) {
  const auto debug = cluster.DebugCluster();
  for (const auto& worker : debug["workers"]) {
    if (worker["id"] == id) return worker["ejected"].get<bool>();
  }
  ADD_FAILURE() << id << " is not attached";
  return false;
}

TEST(WorkerEjectTest, ADecodeWorkerThatFailsIsPutOutUntilItHasProvedItself) {
  RouterCluster cluster(Placed("round-robin"));
  auto bad = cluster.AddDecode("decode-0");
  auto good = cluster.AddDecode("decode-1");
  bad.worker->FailAll(static_cast<int>(absl::StatusCode::kInternal), "the device fell off");
  good.worker->AnswerAll(cluster.Tokens("a"), v1::FINISH_REASON_LENGTH);
  const auto ask = [&] { return cluster.Post(kText, R"({"prompt":"x"})").status; };
  while (!IsEjected(cluster, "decode-0")) ASSERT_EQ(ask(), 200) << "another one answers";
  const size_t failed = bad.worker->seen().submits.size();
  EXPECT_EQ(failed, 3u);
  for (int i = 0; i < 4; ++i) EXPECT_EQ(ask(), 200);
  EXPECT_EQ(bad.worker->seen().submits.size(), failed);

  bad.worker->AnswerAll(cluster.Tokens("b"), v1::FINISH_REASON_LENGTH);
  EXPECT_TRUE(cluster.WaitFor([&](const auto&) {
    EXPECT_EQ(ask(), 200);
    return !IsEjected(cluster, "decode-0");
  }));
  EXPECT_GT(bad.worker->seen().submits.size(), failed);
}

// A tenth of its cores, a hot device: it answers, and nobody should wait for that.
TEST(WorkerEjectTest, AWorkerThatHasBecomeSlowIsLeftAndComesBackWhenItIsFastAgain) {
  RouterCluster cluster(Placed("round-robin"));
  auto slow = cluster.AddDecode("decode-0");
  RawHttp http(cluster.http());
  http.Write(RawRequest("POST", kText, R"({"prompt":"x","stream":true})"));
  const std::string id = slow.worker->WaitForSubmit().sequences(0).request_id();
  slow.worker->Tokens(id, 0, cluster.Tokens("a"));
  auto well = cluster.AddDecode("decode-1");
  well.worker->AnswerAll(cluster.Tokens("b"), v1::FINISH_REASON_LENGTH);
  v1::Load load;
  load.set_blocks_total(100);
  load.set_blocks_free(100);
  load.mutable_fit()->set_base_ms(10);
  load.mutable_fit()->set_samples(1000);
  well.attachment->ReportLoad(load);
  ASSERT_TRUE(cluster.WaitFor([](const auto& debug) {
    return debug["workers"][1]["load"]["fit"]["samples"] == 1000;
  })) << "there is somebody to compare with";
  const auto work = [&](int steps, double ms) {
    load.mutable_decode_work()->set_steps(load.decode_work().steps() + steps);
    load.mutable_decode_work()->set_ms(load.decode_work().ms() + steps * ms);
    slow.attachment->ReportLoad(load);
  };
  work(100, 10);
  for (int i = 0; i < 3; ++i) work(10, 100);
  EXPECT_THAT(http.ReadUntil("[DONE]"), HasSubstr("\"text\":\"b\""))
      << "what ran there goes on elsewhere";
  EXPECT_TRUE(IsEjected(cluster, "decode-0"));

  slow.worker->AnswerAll(cluster.Tokens("a"), v1::FINISH_REASON_LENGTH);
  const size_t before = slow.worker->seen().submits.size();
  const auto ask = [&] { return cluster.Post(kText, R"({"prompt":"x"})").status; };
  EXPECT_TRUE(cluster.WaitFor([&](const auto&) {
    EXPECT_EQ(ask(), 200);
    return slow.worker->seen().submits.size() > before;
  })) << "it is tried";
  EXPECT_TRUE(IsEjected(cluster, "decode-0")) << "an answer proves nothing";
  work(32, 10);
  EXPECT_TRUE(cluster.WaitFor([&](const auto&) { return !IsEjected(cluster, "decode-0"); }));
}

TEST(WorkerEjectTest, NoHandOverWaitsForAPrefillWorkerThatHasBecomeSlow) {
  RouterCluster cluster(Placed("always-remote"));
  auto decode = cluster.AddDecode();
  v1::Registration registration = cluster.RegistrationOf("prefill-0", "127.0.0.1:4242");
  registration.set_role(v1::WORKER_ROLE_PREFILL);
  FakeAttachment slow(cluster.grpc(), registration);
  registration.set_worker_id("prefill-1");
  FakeAttachment well(cluster.grpc(), registration);
  ASSERT_TRUE(slow.WaitForWelcome() && well.WaitForWelcome());
  v1::Load load;
  load.mutable_fit()->set_base_ms(10);
  load.mutable_fit()->set_samples(1000);
  well.ReportLoad(load);
  ASSERT_TRUE(cluster.WaitFor([](const auto& debug) {
    return debug["workers"][2]["load"]["fit"]["samples"] == 1000;
  })) << "there is somebody to compare with";
  const auto work = [&](int steps, double ms) {
    load.mutable_prefill_work()->set_steps(load.prefill_work().steps() + steps);
    load.mutable_prefill_work()->set_ms(load.prefill_work().ms() + steps * ms);
    slow.ReportLoad(load);
  };
  work(100, 10);
  for (int i = 0; i < 3; ++i) work(10, 100);
  ASSERT_TRUE(decode.worker->WaitFor([](const auto& seen) { return !seen.leaves.empty(); }));
  EXPECT_EQ(decode.worker->seen().leaves[0].worker_id(), "prefill-0");
  EXPECT_TRUE(IsEjected(cluster, "prefill-0"));
}

// Better one that has failed than none.
TEST(WorkerEjectTest, TheOnlyDecodeWorkerIsAskedWhateverItHasDone) {
  RouterCluster cluster;
  auto only = cluster.AddDecode();
  only.worker->FailAll(static_cast<int>(absl::StatusCode::kInternal), "out of luck");
  while (!IsEjected(cluster, "decode-0"))
    EXPECT_NE(cluster.Post(kText, R"({"prompt":"x"})").status, 200);
  only.worker->AnswerAll(cluster.Tokens("b"), v1::FINISH_REASON_LENGTH);
  EXPECT_EQ(cluster.Post(kText, R"({"prompt":"x"})").status, 200);
  EXPECT_FALSE(IsEjected(cluster, "decode-0"));
}

TEST(WorkerEjectTest, APrefillWorkerThatHandsOverWrongBytesIsOutAtOnce) {
  RouterCluster cluster(Placed("always-remote"));
  auto decode = cluster.AddDecode();
  v1::Registration registration = cluster.RegistrationOf("prefill-0", "127.0.0.1:4242");
  registration.set_role(v1::WORKER_ROLE_PREFILL);
  FakeAttachment prefill(cluster.grpc(), registration);
  ASSERT_TRUE(prefill.WaitForWelcome());
  const std::string body = R"({"prompt":")" + std::string(60, 'q') + R"(","stream":true})";
  RawHttp http(cluster.http());
  http.Write(RawRequest("POST", kText, body));
  const v1::SubmitSequences submit = decode.worker->WaitForSubmit();
  ASSERT_EQ(submit.prefill_size(), 1);

  v1::DecodeEvent event;
  v1::SequenceDelta& delta = *event.add_deltas();
  delta.set_request_id(submit.sequences(0).request_id());
  delta.add_tokens()->set_token(cluster.Tokens("a").front());
  delta.set_finish(v1::FINISH_REASON_LENGTH);
  v1::HandoverFailure& failure = *delta.mutable_times()->add_failures();
  failure.set_prefill_worker("prefill-0");
  failure.set_status_code(static_cast<int>(absl::StatusCode::kDataLoss));
  ASSERT_TRUE(decode.worker->Send(event));
  http.ReadUntil("[DONE]");
  EXPECT_TRUE(IsEjected(cluster, "prefill-0"));

  RawHttp again(cluster.http());
  again.Write(RawRequest("POST", kText, body));
  EXPECT_EQ(decode.worker->WaitForSubmit(1).prefill_size(), 0);
}

}  // namespace
}  // namespace baton::router
