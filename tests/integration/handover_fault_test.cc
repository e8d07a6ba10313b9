// What happens to a hand-over, and to everybody else, when something dies, hangs or is cancelled
// half-way.
#include "tests/support/worker_pair_test.h"

namespace baton::testing {
namespace {

constexpr char kModel[] = "tests/support/models/random-llama";
constexpr int32_t kPromptTokens = 3000;

std::vector<int32_t> Prompt(int32_t seed, int32_t length) {
  std::vector<int32_t> tokens;
  uint32_t state = static_cast<uint32_t>(seed) * 2654435761u + 1;
  for (int32_t i = 0; i < length; ++i) {
    state = state * 1664525u + 1013904223u;
    tokens.push_back(static_cast<int32_t>((state >> 8) % 4096));
  }
  return tokens;
}

v1::Sequence WithLogprobs(v1::Sequence sequence) {
  sequence.mutable_sampling()->set_logprobs(0);
  return sequence;
}

class HandoverFaultTest : public WorkerPairTest {
 protected:
  void StartBoth(std::vector<std::string> extra = {}) {
    // Small steps: a long prompt is many chunks, and faults land between them.
    extra.insert(extra.end(), {"--load-format", "random", "--dtype", "bf16", "--step-tokens", "64",
                               "--kv-blocks", "1024"});
    StartPair(kModel, extra);
  }

  // The tokens and logprobs of an undisturbed, local run on a worker that has cached nothing of it.
  Generation Undisturbed(const std::string& id, const std::vector<int32_t>& prompt,
                         int32_t tokens) {
    return stream_->Run(WithLogprobs(DecodeStream::Greedy(id, prompt, tokens)));
  }

  // Begins a remote prefill and returns once bytes have been put into the decode worker's memory.
  void BeginTransfer(const std::string& id, const std::vector<int32_t>& prompt, int32_t tokens) {
    const uint64_t before = router_.LoadOf(prefill_worker_.worker_id()).kv_bytes();
    stream_->Submit({WithLogprobs(DecodeStream::Greedy(id, prompt, tokens))},
                    {TargetOf(prefill_worker_)});
    ASSERT_TRUE(WaitForLoad(prefill_worker_,
                            [&](const v1::Load& load) { return load.kv_bytes() > before; }));
  }
};

void ExpectSame(const Generation& got, const Generation& expected) {
  EXPECT_EQ(got.tokens, expected.tokens) << got.status_message;
  EXPECT_EQ(got.logprobs, expected.logprobs) << "equal to the last bit, or somebody's KV changed";
}

TEST_F(HandoverFaultTest, KillingThePrefillWorkerInMidTransferHarmsNobody) {
  StartBoth({"--prefix-cache", "off"});
  const Generation victim = Undisturbed("victim-alone", Prompt(1, kPromptTokens), 16);
  const Generation bystander = Undisturbed("bystander-alone", Prompt(2, 50), 400);

  stream_->Submit({WithLogprobs(DecodeStream::Greedy("bystander", Prompt(2, 50), 400))});
  BeginTransfer("victim", Prompt(1, kPromptTokens), 16);
  prefill_->Signal(SIGKILL);

  const Generation got = stream_->Finish("victim");
  ExpectSame(got, victim);
  EXPECT_EQ(got.times.prefill_worker(), "") << "completed locally";
  ExpectSame(stream_->Finish("bystander"), bystander);
  ExpectNothingLeaks(decode_worker_);
}

TEST_F(HandoverFaultTest, ASecondPrefillWorkerTakesOver) {
  StartBoth({"--prefix-cache", "off"});
  const std::vector<int32_t> prompt = Prompt(1, kPromptTokens);
  const Generation alone = Undisturbed("alone", prompt, 8);
  prefill_->Signal(SIGKILL);
  prefill_->Wait();
  const v1::Registration dead = prefill_worker_;
  ASSERT_TRUE(Eventually([&] { return !router_.IsAttached(dead.worker_id()); }));
  auto second = Start("prefill", kModel,
                      {"--load-format", "random", "--dtype", "bf16", "--kv-blocks", "1024"});
  const v1::Registration alive = router_.WaitForWorker(v1::WORKER_ROLE_PREFILL);

  stream_->Submit({WithLogprobs(DecodeStream::Greedy("r", prompt, 8))},
                  {TargetOf(dead), TargetOf(alive)});
  const Generation got = stream_->Finish("r");
  ExpectSame(got, alone);
  EXPECT_EQ(got.times.prefill_worker(), alive.worker_id());
  ExpectNothingLeaks(decode_worker_);
  ExpectNothingLeaks(alive);
}

TEST_F(HandoverFaultTest, ABlockIsNotReusedWhileAStoppedPrefillWorkerMightStillWrite) {
  StartBoth({"--prefix-cache", "off", "--kv-spare-percent", "off"});
  const Generation alone = Undisturbed("alone", Prompt(1, kPromptTokens), 8);
  BeginTransfer("r", Prompt(1, kPromptTokens), 8);
  prefill_->Signal(SIGSTOP);

  // The connection is given up after its keepalive; the request goes on here, the blocks wait.
  ExpectSame(stream_->Finish("r"), alone);
  EXPECT_TRUE(WaitForLoad(decode_worker_, [](const v1::Load& load) {
    return load.running() == 0 && load.blocks_quarantined() > 0;
  }));
  prefill_->Signal(SIGCONT);
  ExpectNothingLeaks(decode_worker_);
  ExpectNothingLeaks(prefill_worker_);
}

TEST_F(HandoverFaultTest, SparesStandInForTheBlocksOfAStoppedPrefillWorker) {
  StartBoth({"--prefix-cache", "off"});
  const Generation alone = Undisturbed("alone", Prompt(1, kPromptTokens), 8);
  BeginTransfer("r", Prompt(1, kPromptTokens), 8);
  prefill_->Signal(SIGSTOP);
  ExpectSame(stream_->Finish("r"), alone);
  EXPECT_TRUE(WaitForLoad(decode_worker_, [](const v1::Load& load) {
    return load.running() == 0 && load.blocks_free() == load.blocks_total();
  })) << "the writer is stopped still";
  ExpectSame(Undisturbed("spares", Prompt(1, kPromptTokens), 8), alone);
  // What it wakes up to write lands in blocks that are out of use.
  prefill_->Signal(SIGCONT);
  ExpectNothingLeaks(prefill_worker_);
  ExpectSame(Undisturbed("after", Prompt(1, kPromptTokens), 8), alone);
  ExpectNothingLeaks(decode_worker_);
}

TEST_F(HandoverFaultTest, CancelInMidTransferFreesTheBlocksOnBothSides) {
  StartBoth();
  for (int round = 0; round < 3; ++round) {
    const std::string id = "r" + std::to_string(round);
    BeginTransfer(id, Prompt(10 + round, kPromptTokens), 100);
    stream_->Cancel(id);
    EXPECT_EQ(stream_->Finish(id).finish, v1::FINISH_REASON_CANCELLED);
  }
  ExpectNothingLeaks(prefill_worker_);
  ExpectNothingLeaks(decode_worker_);
}

TEST_F(HandoverFaultTest, KillingTheDecodeWorkerFreesThePrefillWorker) {
  StartBoth();
  BeginTransfer("r", Prompt(1, kPromptTokens), 8);
  decode_->Signal(SIGKILL);
  ExpectNothingLeaks(prefill_worker_);
}

}  // namespace
}  // namespace baton::testing
