// A decode worker that wants to leave: what runs on it goes on elsewhere with its KV, and it learns
// when it is free to go.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/contract/router/router_cluster.h"

namespace baton::router {
namespace {

using ::testing::HasSubstr;

void SayDraining(FakeAttachment& attachment) {
  v1::WorkerReport report;
  report.mutable_draining();
  attachment.Report(report);
}

bool HasNoStream(FakeDecodeWorker& worker) {
  return worker.WaitFor([](const FakeDecodeWorker::Seen& seen) { return seen.streams == 0; });
}

class WorkerDrainTest : public ::testing::Test {
 protected:
  // Runs on `first` and has said "a".
  std::string Begin(RouterCluster::Decode& first) {
    http_.Write(RawRequest("POST", kText, kStream));
    const std::string id = first.worker->WaitForSubmit().sequences(0).request_id();
    first.worker->Tokens(id, 0, cluster_.Tokens("a"));
    http_.ReadUntil("\"text\":\"a\"");
    return id;
  }

  RouterCluster cluster_;
  RawHttp http_{cluster_.http()};
};

TEST_F(WorkerDrainTest, WhatRunsThereGoesOnElsewhereAndItsKvComesFromTheWorkerItLeaves) {
  auto first = cluster_.AddDecode("decode-0");
  const std::string id = Begin(first);
  auto second = cluster_.AddDecode("decode-1");
  SayDraining(*first.attachment);

  const v1::SubmitSequences moved = second.worker->WaitForSubmit();
  EXPECT_EQ(moved.sequences(0).resumed_tokens(), 1);
  ASSERT_EQ(moved.prefill_size(), 1);
  EXPECT_EQ(moved.prefill(0).worker_id(), "decode-0");
  EXPECT_EQ(moved.prefill(0).grpc_address(), first.worker->address());
  EXPECT_TRUE(first.worker->WaitFor([&](const FakeDecodeWorker::Seen& seen) {
    return !seen.cancels.empty() && seen.cancels.front().request_id() == id;
  }));
  EXPECT_EQ(first.worker->seen().streams, 1) << "its KV is still wanted";

  const std::string moved_id = moved.sequences(0).request_id();
  second.worker->Tokens(moved_id, 0, cluster_.Tokens("b"));
  http_.ReadUntil("\"text\":\"b\"");
  EXPECT_TRUE(HasNoStream(*first.worker)) << "nothing is wanted of it any more";
  second.worker->Tokens(moved_id, 0, cluster_.Tokens("c"), v1::FINISH_REASON_LENGTH);
  EXPECT_THAT(http_.ReadUntil("[DONE]"), HasSubstr("\"text\":\"c\""));
}

TEST_F(WorkerDrainTest, WithNobodyElseItRunsToItsEndThere) {
  auto only = cluster_.AddDecode("decode-0");
  const std::string id = Begin(only);
  SayDraining(*only.attachment);
  ASSERT_TRUE(cluster_.WaitReady(503));
  only.worker->Tokens(id, 0, cluster_.Tokens("b"), v1::FINISH_REASON_LENGTH);
  EXPECT_THAT(http_.ReadUntil("[DONE]"), HasSubstr("\"text\":\"b\""));
  EXPECT_TRUE(only.worker->seen().cancels.empty());
  EXPECT_TRUE(HasNoStream(*only.worker));
}

TEST_F(WorkerDrainTest, AWorkerThatJoinsLaterTakesOver) {
  auto first = cluster_.AddDecode("decode-0");
  Begin(first);
  SayDraining(*first.attachment);
  ASSERT_TRUE(cluster_.WaitReady(503));
  auto second = cluster_.AddDecode("decode-1");
  EXPECT_EQ(second.worker->WaitForSubmit().prefill(0).worker_id(), "decode-0");
}

class WorkerDrainToAnother : public WorkerDrainTest {
 protected:
  // What has a token stays on the worker that drains, though `adjust`ed ones are there.
  void ExpectNeverMovedTo(const std::function<void(v1::Registration&)>& adjust);
};

void WorkerDrainToAnother::ExpectNeverMovedTo(
    const std::function<void(v1::Registration&)>& adjust) {
  auto first = cluster_.AddDecode("decode-0");
  const std::string id = Begin(first);
  FakeDecodeWorker other;
  v1::Registration registration = cluster_.RegistrationOf("decode-1", other.address());
  adjust(registration);
  FakeAttachment attachment(cluster_.grpc(), std::move(registration));
  ASSERT_TRUE(other.WaitFor([](const auto& seen) { return seen.streams == 1; }));
  SayDraining(*first.attachment);
  ASSERT_TRUE(cluster_.WaitFor([](const auto& debug) {
    return debug["workers"][0]["draining"] == true && debug["workers"][1]["reachable"] == true;
  }));
  // It does take what begins anew.
  other.AnswerAll(cluster_.Tokens("z"), v1::FINISH_REASON_LENGTH);
  EXPECT_EQ(cluster_.Post(kText, R"({"prompt":"y"})").status, 200);
  first.worker->Tokens(id, 0, cluster_.Tokens("b"), v1::FINISH_REASON_LENGTH);
  EXPECT_THAT(http_.ReadUntil("[DONE]"), HasSubstr("\"text\":\"b\""));
  EXPECT_TRUE(HasNoStream(*first.worker));
  EXPECT_EQ(other.seen().submits.size(), 1u);
}

// Another version of the weights would go on with another text.
TEST_F(WorkerDrainToAnother, NeverToAWorkerOfAnotherFingerprint) {
  ExpectNeverMovedTo([](v1::Registration& other) { other.set_fingerprint("another"); });
}

// Its KV would do, but its sums round otherwise: where two tokens are as good as equal it may pick
// the other one.
TEST_F(WorkerDrainToAnother, NeverToAWorkerOfAnotherNumberOfRanks) {
  ExpectNeverMovedTo([](v1::Registration& other) {
    other.set_tensor_parallel_size(2);
    other.set_token_fingerprint("fp/T2");
  });
}

TEST_F(WorkerDrainTest, AnotherVersionOfTheProtocolMayGoOnWithItsTokens) {
  const auto say = [](v1::Registration& registration, int32_t protocol) {
    registration.set_protocol(protocol);
    registration.set_fingerprint("fp/v" + std::to_string(protocol));
    registration.set_token_fingerprint("fp/T1");
  };
  auto first = cluster_.AddDecode("decode-0", [&](v1::Registration& r) { say(r, 1); });
  Begin(first);
  auto second = cluster_.AddDecode("decode-1", [&](v1::Registration& r) { say(r, 2); });
  SayDraining(*first.attachment);
  const v1::SubmitSequences moved = second.worker->WaitForSubmit();
  EXPECT_EQ(moved.sequences(0).resumed_tokens(), 1);
  EXPECT_EQ(moved.prefill_size(), 0) << "they do not hand KV to each other";
}

// Its tokens so far are known here; what was never begun has nothing to bring along.
TEST_F(WorkerDrainTest, WhatHasNoTokenYetBeginsAnewElsewhere) {
  auto first = cluster_.AddDecode("decode-0");
  http_.Write(RawRequest("POST", kText, kStream));
  first.worker->WaitForSubmit();
  auto second = cluster_.AddDecode("decode-1");
  SayDraining(*first.attachment);
  const v1::SubmitSequences moved = second.worker->WaitForSubmit();
  EXPECT_EQ(moved.sequences(0).resumed_tokens(), 0);
  EXPECT_EQ(moved.prefill_size(), 0);
  EXPECT_TRUE(HasNoStream(*first.worker));
}

// Each choice's KV is its own: the worker is needed until the last one has gone on.
TEST_F(WorkerDrainTest, ItIsHeldUntilEveryChoiceHasGoneOn) {
  auto first = cluster_.AddDecode("decode-0");
  http_.Write(RawRequest("POST", kText, R"({"prompt":"x","stream":true,"n":2})"));
  const std::string id = first.worker->WaitForSubmit().sequences(0).request_id();
  first.worker->Tokens(id, 0, cluster_.Tokens("a"));
  first.worker->Tokens(id, 1, cluster_.Tokens("b"));
  http_.ReadUntil("\"text\":\"b\"");
  auto second = cluster_.AddDecode("decode-1");
  SayDraining(*first.attachment);
  const std::string moved = second.worker->WaitForSubmit().sequences(0).request_id();
  second.worker->Tokens(moved, 0, cluster_.Tokens("c"), v1::FINISH_REASON_LENGTH);
  http_.ReadUntil("\"text\":\"c\"");
  // A link that is not needed is closed by the next tick; a whole request takes longer than that.
  EXPECT_EQ(cluster_.Get("/health/ready").status, 200);
  EXPECT_EQ(first.worker->seen().streams, 1);
  second.worker->Tokens(moved, 1, cluster_.Tokens("d"), v1::FINISH_REASON_LENGTH);
  http_.ReadUntil("[DONE]");
  EXPECT_TRUE(HasNoStream(*first.worker));
}

}  // namespace
}  // namespace baton::router
