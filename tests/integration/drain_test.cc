// What a worker's end looks like from outside: its health, and what becomes of requests that run
// longer than it waits for them.
#include <gmock/gmock.h>

#include "tests/support/standard_services.h"
#include "tests/support/worker_pair_test.h"

namespace baton::testing {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;

constexpr char kModel[] = "tests/support/models/random-llama";
constexpr char kDecodeService[] = "baton.v1.DecodeWorker";
constexpr char kPrefillService[] = "baton.v1.PrefillWorker";

std::vector<int32_t> Prompt(int32_t length) {
  std::vector<int32_t> tokens;
  for (int32_t i = 0; i < length; ++i) tokens.push_back((i * 31 + 7) % 4096);
  return tokens;
}

class DrainTest : public WorkerPairTest {
 protected:
  // Small steps, so that long work takes many of them.
  void StartBoth(const std::string& drain_timeout) {
    StartPair(kModel,
              {"--load-format", "random", "--dtype", "bf16", "--step-tokens", "64", "--kv-blocks",
               "1024", "--prefix-cache", "off", "--drain-timeout", drain_timeout});
  }
  bool Becomes(const v1::Registration& worker, const std::string& service, Health expected) {
    return Eventually([&] {
      const auto health = HealthOf(worker.grpc_address(), service);
      return health.ok() && *health == expected;
    });
  }
  // Begins a sequence that runs for minutes, and returns when it has begun to speak.
  void BeginEndless(const std::string& id, const std::vector<v1::PrefillTarget>& prefill = {}) {
    stream_->Submit({DecodeStream::Greedy(id, Prompt(40), 15000)}, prefill);
    ASSERT_TRUE(Eventually([&] { return !stream_->Look(id).tokens.empty(); }));
  }
};

TEST_F(DrainTest, WorkersServeHealthAndReflectionByService) {
  StartBoth("30s");
  for (const auto& [worker, service] :
       {std::pair(&decode_worker_, kDecodeService), std::pair(&prefill_worker_, kPrefillService)}) {
    EXPECT_TRUE(Becomes(*worker, "", Health::kServing));
    EXPECT_TRUE(Becomes(*worker, service, Health::kServing)) << service;
    const auto services = ListServices(worker->grpc_address());
    ASSERT_TRUE(services.ok()) << services.status();
    EXPECT_THAT(*services, Contains(service));
  }
  EXPECT_THAT(*MethodsOf(prefill_worker_.grpc_address(), kPrefillService), Contains("Fence"));
}

TEST_F(DrainTest, ADrainingWorkerIsNotServingRefusesTheNewAndFinishesTheOld) {
  StartBoth("60s");
  stream_->Submit({DecodeStream::Greedy("old", Prompt(40), 600)});
  ASSERT_TRUE(Eventually([&] { return !stream_->Look("old").tokens.empty(); }));
  decode_->Signal(SIGTERM);
  EXPECT_TRUE(Becomes(decode_worker_, "", Health::kNotServing));
  EXPECT_TRUE(Becomes(decode_worker_, kDecodeService, Health::kNotServing));
  ASSERT_EQ(stream_->Look("old").finish, v1::FINISH_REASON_UNSPECIFIED) << "too short a request";

  const Generation refused = stream_->Run(DecodeStream::Greedy("new", Prompt(8), 4));
  EXPECT_EQ(refused.finish, v1::FINISH_REASON_ERROR);
  EXPECT_EQ(refused.status_code, grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_THAT(refused.status_message, HasSubstr("draining"));
  const Generation old = stream_->Finish("old");
  EXPECT_EQ(old.finish, v1::FINISH_REASON_LENGTH) << old.status_message;
  EXPECT_EQ(old.tokens.size(), 600u);
  stream_->Break();  // a router needs it no more
  EXPECT_EQ(decode_->Wait(), 0);
}

// As a router moves it: taken off the worker that leaves, and given to another one with its tokens
// so far.
TEST_F(DrainTest, WhatRanThereGoesOnElsewhereWithTheKvOfTheWorkerThatLeaves) {
  constexpr int32_t kTokens = 400;
  StartPair(kModel, {"--load-format", "random", "--dtype", "bf16", "--kv-blocks", "1024"});
  // Without a cache of its own: everything comes from the other one.
  auto other = Start("decode", kModel,
                     {"--load-format", "random", "--dtype", "bf16", "--kv-blocks", "1024",
                      "--worker-id", "other", "--prefix-cache", "off"});
  const v1::Registration other_worker =
      router_.WaitForWorker(v1::WORKER_ROLE_DECODE, decode_worker_.worker_id());
  DecodeStream to_other(other_worker.grpc_address());
  const std::vector<int32_t> prompt = Prompt(300);
  const Generation alone = to_other.Run(DecodeStream::Greedy("alone", prompt, kTokens));

  stream_->Submit({DecodeStream::Greedy("r", prompt, kTokens)});
  ASSERT_TRUE(Eventually([&] { return stream_->Look("r").tokens.size() > 40; }));
  decode_->Signal(SIGTERM);
  ASSERT_TRUE(Becomes(decode_worker_, kDecodeService, Health::kNotServing));
  stream_->Cancel("r");
  const std::vector<int32_t> said = stream_->Finish("r").tokens;
  ASSERT_LT(said.size(), size_t{kTokens}) << "too short a request";
  std::vector<int32_t> so_far = prompt;
  so_far.insert(so_far.end(), said.begin(), said.end());
  v1::Sequence rest = DecodeStream::Greedy("r~2", so_far, kTokens - int32_t(said.size()));
  rest.set_resumed_tokens(static_cast<int32_t>(said.size()));
  to_other.Submit({rest}, {TargetOf(decode_worker_)});
  const Generation moved = to_other.Finish("r~2");

  std::vector<int32_t> all = said;
  all.insert(all.end(), moved.tokens.begin(), moved.tokens.end());
  EXPECT_EQ(all, alone.tokens);
  EXPECT_EQ(moved.times.prefill_worker(), decode_worker_.worker_id());
  EXPECT_GT(moved.times.kv_bytes(), 0u);
  // It computed the last, partial block at most.
  EXPECT_GE(router_.LoadOf(decode_worker_.worker_id()).cached_tokens(),
            static_cast<int64_t>(so_far.size()) - 2 * decode_worker_.block_tokens());
  stream_->Break();
  EXPECT_EQ(decode_->Wait(), 0);
  ExpectNothingLeaks(other_worker);
}

TEST_F(DrainTest, RequestsLongerThanTheDrainTimeoutEndInARetryableErrorAndTheWorkerInZero) {
  StartBoth("200ms");
  BeginEndless("local");
  BeginEndless("handed-over", {TargetOf(prefill_worker_)});
  decode_->Signal(SIGTERM);
  const grpc::Status end = stream_->AwaitEnd();
  EXPECT_EQ(end.error_code(), grpc::StatusCode::UNAVAILABLE) << "another try may succeed";
  EXPECT_THAT(end.error_message(), HasSubstr("drain timeout of 200ms"));
  for (const char* id : {"local", "handed-over"}) {
    EXPECT_EQ(stream_->Look(id).finish, v1::FINISH_REASON_UNSPECIFIED) << id << " was cut off";
  }
  EXPECT_EQ(decode_->Wait(), 0);
  EXPECT_THAT(decode_->log(), HasSubstr("drain timeout"));
  ExpectNothingLeaks(prefill_worker_);
}

TEST_F(DrainTest, APrefillCutOffByTheDrainTimeoutIsDoneByTheDecodeWorker) {
  StartBoth("1ms");
  const std::vector<int32_t> prompt = Prompt(3000);
  const Generation alone = stream_->Run(DecodeStream::Greedy("alone", prompt, 8));
  const uint64_t before = router_.LoadOf(prefill_worker_.worker_id()).kv_bytes();
  stream_->Submit({DecodeStream::Greedy("r", prompt, 8)}, {TargetOf(prefill_worker_)});
  ASSERT_TRUE(
      WaitForLoad(prefill_worker_, [&](const v1::Load& load) { return load.kv_bytes() > before; }));
  prefill_->Signal(SIGTERM);
  EXPECT_EQ(prefill_->Wait(), 0);
  EXPECT_THAT(prefill_->log(), HasSubstr("drain timeout"));
  const Generation got = stream_->Finish("r");
  EXPECT_EQ(got.tokens, alone.tokens) << got.status_message;
  EXPECT_EQ(got.times.prefill_worker(), "") << "completed locally";
  ExpectNothingLeaks(decode_worker_);
}

}  // namespace
}  // namespace baton::testing
