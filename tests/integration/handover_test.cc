// Real prefill and decode processes; the test is their router.
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <fstream>

#include "fmt/format.h"
#include "nlohmann/json.hpp"
#include "tests/support/worker_pair_test.h"

namespace baton::testing {
namespace {

constexpr char kModel[] = "llama-rope-llama3";

struct GoldenPrompt {
  std::vector<int32_t> prompt;
  std::vector<int32_t> greedy;
};

std::vector<GoldenPrompt> ReadGolden(const std::string& model) {
  std::ifstream file(SourceFile("tests/oracle/goldens/" + model + "/golden.json"));
  std::vector<GoldenPrompt> prompts;
  const nlohmann::json golden = nlohmann::json::parse(file);
  for (const auto& prompt : golden.at("prompts")) {
    prompts.push_back({prompt.at("ids"), prompt.at("greedy")});
  }
  return prompts;
}

class HandoverTest : public WorkerPairTest {
 protected:
  void StartBoth(std::vector<std::string> extra = {}) {
    extra.insert(extra.end(), {"--kv-blocks", "256"});
    StartPair("tests/oracle/goldens/" + std::string(kModel), extra);
  }
};

class HandoverPathTest : public HandoverTest, public ::testing::WithParamInterface<std::string> {};

TEST_P(HandoverPathTest, LocalAndRemotePrefillGiveTheReferencesTokens) {
  StartBoth({"--transfer-path", GetParam()});
  int number = 0;
  for (const GoldenPrompt& golden : ReadGolden(kModel)) {
    const std::string id = std::to_string(++number);
    const int32_t length = static_cast<int32_t>(golden.greedy.size());
    const Generation remote = stream_->Run(
        DecodeStream::Greedy("remote-" + id, golden.prompt, length), {TargetOf(prefill_worker_)});
    EXPECT_EQ(remote.tokens, golden.greedy) << "prompt " << id << ": " << remote.status_message;
    EXPECT_EQ(remote.finish, v1::FINISH_REASON_LENGTH);
    const Generation local =
        stream_->Run(DecodeStream::Greedy("local-" + id, golden.prompt, length));
    EXPECT_EQ(local.tokens, golden.greedy) << "prompt " << id;
    // The engine keeps prompts of up to one uncached block to itself.
    if (golden.prompt.size() > 16 + 1) {
      EXPECT_EQ(remote.times.prefill_worker(), prefill_worker_.worker_id());
      EXPECT_GT(remote.times.kv_bytes(), 0u);
    }
    EXPECT_EQ(local.times.prefill_worker(), "");
  }
  ExpectNothingLeaks(prefill_worker_);
  ExpectNothingLeaks(decode_worker_);
}

INSTANTIATE_TEST_SUITE_P(Paths, HandoverPathTest, ::testing::Values("shm", "tcp"));

// KV of one byte per element: what is handed over is what the worker itself would have written.
class QuantizedHandoverTest : public HandoverTest,
                              public ::testing::WithParamInterface<std::string> {};

TEST_P(QuantizedHandoverTest, LocalAndRemotePrefillGiveTheSameTokens) {
  StartPair("models/baton-demo", {"--kv-blocks", "64", "--kv-dtype", GetParam()});
  std::vector<int32_t> prompt;
  for (int32_t i = 0; i < 75; ++i) prompt.push_back(300 + i * 37 % 2000);
  const Generation remote =
      stream_->Run(DecodeStream::Greedy("remote", prompt, 48), {TargetOf(prefill_worker_)});
  EXPECT_EQ(remote.tokens.size(), 48u) << remote.status_message;
  EXPECT_EQ(remote.times.prefill_worker(), prefill_worker_.worker_id());
  const uint64_t block_bytes = decode_worker_.kv_bytes_per_token() * decode_worker_.block_tokens();
  EXPECT_EQ(remote.times.kv_bytes(), 5 * block_bytes);
  // By workers that know nothing of the prompt.
  ASSERT_NO_FATAL_FAILURE(KillPair());
  StartPair("models/baton-demo", {"--kv-blocks", "64", "--kv-dtype", GetParam()});
  const Generation local = stream_->Run(DecodeStream::Greedy("local", prompt, 48));
  EXPECT_EQ(local.times.prefill_worker(), "");
  EXPECT_EQ(local.tokens, remote.tokens);
}

INSTANTIATE_TEST_SUITE_P(KvDtypes, QuantizedHandoverTest, ::testing::Values("int8", "fp8"));

TEST_F(HandoverTest, WorkersWithDifferentKvAreNotPaired) {
  const std::string model = "tests/oracle/goldens/" + std::string(kModel);
  prefill_ = Start("prefill", model, {"--kv-blocks", "64", "--kv-dtype", "int8"});
  decode_ = Start("decode", model, {"--kv-blocks", "64"});
  prefill_worker_ = router_.WaitForWorker(v1::WORKER_ROLE_PREFILL);
  decode_worker_ = router_.WaitForWorker(v1::WORKER_ROLE_DECODE);
  EXPECT_NE(prefill_worker_.fingerprint(), decode_worker_.fingerprint());
  stream_ = std::make_unique<DecodeStream>(decode_worker_.grpc_address());
  const GoldenPrompt golden = ReadGolden(kModel).back();
  const Generation got =
      stream_->Run(DecodeStream::Greedy("r", golden.prompt, 16), {TargetOf(prefill_worker_)});
  EXPECT_EQ(got.tokens, std::vector<int32_t>(golden.greedy.begin(), golden.greedy.begin() + 16));
  EXPECT_EQ(got.times.prefill_worker(), "");  // it refused
}

// Workers that divide the model among different numbers of ranks.
struct Division {
  const char* model;  // a golden
  int prefill, decode;
};

class DividedHandoverTest : public HandoverTest {
 protected:
  void StartDivided(const std::string& model, int prefill, int decode) {
    const auto start = [&](const std::string& role, int ranks) {
      return Start(role, model,
                   {"--kv-blocks", "64", "--tensor-parallel-size", std::to_string(ranks)});
    };
    prefill_ = start("prefill", prefill);
    decode_ = start("decode", decode);
    prefill_worker_ = router_.WaitForWorker(v1::WORKER_ROLE_PREFILL);
    decode_worker_ = router_.WaitForWorker(v1::WORKER_ROLE_DECODE);
    stream_ = std::make_unique<DecodeStream>(decode_worker_.grpc_address());
  }
};

class DivisionTest : public DividedHandoverTest, public ::testing::WithParamInterface<Division> {};

TEST_P(DivisionTest, TokensAreTheReferencesWhoeverPrefills) {
  const Division& division = GetParam();
  StartDivided("tests/oracle/goldens/" + std::string(division.model), division.prefill,
               division.decode);
  EXPECT_EQ(prefill_worker_.tensor_parallel_size(), division.prefill);
  EXPECT_EQ(decode_worker_.tensor_parallel_size(), division.decode);
  EXPECT_EQ(prefill_worker_.fingerprint(), decode_worker_.fingerprint());
  int number = 0, handed_over = 0;
  for (const GoldenPrompt& golden : ReadGolden(division.model)) {
    const std::string id = std::to_string(++number);
    const int32_t length = static_cast<int32_t>(golden.greedy.size());
    const Generation remote = stream_->Run(
        DecodeStream::Greedy("remote-" + id, golden.prompt, length), {TargetOf(prefill_worker_)});
    EXPECT_EQ(remote.tokens, golden.greedy) << "prompt " << id << ": " << remote.status_message;
    EXPECT_EQ(remote.times.failures_size(), 0) << remote.times.ShortDebugString();
    handed_over += remote.times.prefill_worker() == prefill_worker_.worker_id();
    const Generation local =
        stream_->Run(DecodeStream::Greedy("local-" + id, golden.prompt, length));
    EXPECT_EQ(local.tokens, golden.greedy) << "prompt " << id;
  }
  EXPECT_GT(handed_over, 0);
  ExpectNothingLeaks(prefill_worker_);
  ExpectNothingLeaks(decode_worker_);
}

// Two KV heads, and one that ranks keep copies of.
INSTANTIATE_TEST_SUITE_P(Divisions, DivisionTest,
                         ::testing::Values(Division{"qwen3-gqa", 2, 1}, Division{"qwen3-gqa", 1, 2},
                                           Division{"llama-mqa-headdim", 4, 1},
                                           Division{"llama-mqa-headdim", 2, 4}),
                         [](const auto& info) {
                           std::string name = info.param.model;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return fmt::format("{}_{}_to_{}", name, info.param.prefill,
                                              info.param.decode);
                         });

TEST_F(DividedHandoverTest, TheDemoModelsTokensAreTheSameForAnyNumberOfRanks) {
  std::vector<int32_t> prompt;
  for (int32_t i = 0; i < 70; ++i) prompt.push_back(300 + i * 37 % 2000);
  std::vector<std::vector<int32_t>> answers;
  for (const auto& [prefill, decode] : {std::pair(2, 1), std::pair(1, 2)}) {
    StartDivided("models/baton-demo", prefill, decode);
    const Generation local = stream_->Run(DecodeStream::Greedy("local", prompt, 32));
    prompt[0] ^= 1;  // another prompt: not from the cache
    const Generation remote =
        stream_->Run(DecodeStream::Greedy("remote", prompt, 32), {TargetOf(prefill_worker_)});
    prompt[0] ^= 1;
    EXPECT_EQ(remote.times.prefill_worker(), prefill_worker_.worker_id());
    answers.push_back(local.tokens);
    answers.push_back(remote.tokens);
    ASSERT_NO_FATAL_FAILURE(KillPair());
  }
  EXPECT_EQ(answers[0].size(), 32u);
  EXPECT_EQ(answers[2], answers[0]);
  EXPECT_EQ(answers[3], answers[1]);
}

TEST_F(HandoverTest, OnlyMissingBlocksTravel) {
  StartBoth();
  const GoldenPrompt golden = ReadGolden(kModel).back();
  ASSERT_GE(golden.prompt.size(), 64u);
  const std::vector<int32_t> head(golden.prompt.begin(), golden.prompt.begin() + 40);
  stream_->Run(
      DecodeStream::Greedy("head", head, 1));  // 2 full blocks are cached at the decode worker
  const Generation whole =
      stream_->Run(DecodeStream::Greedy("whole", golden.prompt, 8), {TargetOf(prefill_worker_)});
  const uint64_t block_bytes = decode_worker_.kv_bytes_per_token() * decode_worker_.block_tokens();
  const uint64_t blocks = (golden.prompt.size() + 15) / 16;
  EXPECT_EQ(whole.times.cached_tokens(), 32);
  EXPECT_EQ(whole.times.kv_bytes(), (blocks - 2) * block_bytes);
}

TEST_F(HandoverTest, WithNoPrefillWorkerAliveTheDecodeWorkerDoesIt) {
  StartBoth();
  prefill_->Signal(SIGKILL);
  prefill_->Wait();
  const GoldenPrompt golden = ReadGolden(kModel).back();
  const Generation got =
      stream_->Run(DecodeStream::Greedy("r", golden.prompt, 64), {TargetOf(prefill_worker_)});
  EXPECT_EQ(got.tokens, golden.greedy) << got.status_message;
  EXPECT_EQ(got.times.prefill_worker(), "");
  EXPECT_TRUE(Eventually([&] { return !router_.IsAttached(prefill_worker_.worker_id()); }));
  ExpectNothingLeaks(decode_worker_);
}

TEST_F(HandoverTest, ALostRouterFreesItsSequences) {
  StartBoth();
  stream_->Submit({DecodeStream::Greedy("r", std::vector<int32_t>(100, 3), 100)});
  EXPECT_TRUE(Eventually([&] { return !stream_->Look("r").tokens.empty(); }));
  stream_->Break();
  ExpectNothingLeaks(decode_worker_);
}

TEST_F(HandoverTest, ChoicesShareTheirPrompt) {
  StartBoth();
  const GoldenPrompt golden = ReadGolden(kModel).back();
  std::vector<v1::Sequence> choices;
  for (int choice = 0; choice < 3; ++choice) {
    choices.push_back(DecodeStream::Greedy("r", golden.prompt, 64));
    choices.back().set_choice(choice);
  }
  stream_->Submit(choices, {TargetOf(prefill_worker_)});
  for (int choice = 0; choice < 3; ++choice) {
    const Generation got = stream_->Finish("r", choice);
    EXPECT_EQ(got.tokens, golden.greedy) << "choice " << choice << " " << got.status_message;
    if (choice > 0) {
      EXPECT_GE(got.times.cached_tokens(), 16) << "choice " << choice;
    }
  }
}

TEST_F(HandoverTest, SigtermDrainsAndExitsCleanly) {
  StartBoth();
  stream_->Submit({DecodeStream::Greedy("r", {1, 2, 3}, 200)});
  ASSERT_TRUE(Eventually([&] { return !stream_->Look("r").tokens.empty(); }));
  decode_->Signal(SIGTERM);
  EXPECT_EQ(stream_->Finish("r").finish, v1::FINISH_REASON_LENGTH) << "what runs goes on";
  stream_->Break();  // a router needs it no more
  EXPECT_EQ(decode_->Wait(), 0);
  prefill_->Signal(SIGTERM);
  EXPECT_EQ(prefill_->Wait(), 0);
}

}  // namespace
}  // namespace baton::testing
