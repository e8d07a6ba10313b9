#include "common/engine/step_executor.h"

#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <vector>

#include "common/engine/admission_gate.h"
#include "common/engine/testing/chain_runner.h"
#include "common/engine/timeline.h"

namespace baton::engine {
namespace {

using testing::ChainRunner;

// Takes a millisecond per token, by a clock that only it turns.
class SlowRunner : public ChainRunner {
 public:
  explicit SlowRunner(ManualClock& clock) : clock_(clock) {}
  model::StepResult Execute(const model::StepBatch& batch) override {
    clock_.Advance(absl::Milliseconds(1) * batch.tokens.size());
    return ChainRunner::Execute(batch);
  }

 private:
  ManualClock& clock_;
};

class TimedSwapStore : public SwapStore {
 public:
  TimedSwapStore(ManualClock& clock, absl::Duration per_block)
      : clock_(clock), per_block_(per_block) {}
  int32_t num_slots() const override { return 100; }
  size_t block_bytes() const override { return 1 << 20; }
  void Copy(std::span<const BlockCopy> copies) override {
    clock_.Advance(per_block_ * copies.size());
  }

 private:
  ManualClock& clock_;
  const absl::Duration per_block_;
};

class StepExecutorTest : public ::testing::Test {
 protected:
  StepExecutorTest() {
    runner_.AllocateKv(32, 16);
    SequenceSpec spec;
    spec.prompt.assign(160, 1);
    spec.sampling.max_tokens = 10;
    sequence_ = std::make_unique<Sequence>(spec, space_, runner_.info(), 512);
    sequence_->blocks.GrowTo(10);
  }
  ~StepExecutorTest() override { sequence_->blocks.Release(); }

  // Prompts of different lengths, and a few copies: enough to know what both cost.
  void Learn(StepExecutor& executor) {
    for (int32_t tokens = 10; tokens < 160; tokens += 5) {
      StepPlan plan;
      plan.parts.push_back({sequence_.get(), tokens, tokens, false});
      plan.prefill_tokens = tokens;
      plan.context_tokens = tokens;
      executor.Begin(plan, nullptr);
      executor.Finish();
    }
    const BlockCopy copy{BlockCopy::Direction::kToHost, BlockId(0), 0};
    for (int i = 0; i < 30; ++i) executor.Copy(std::vector<BlockCopy>(4, copy));
    sequence_->num_computed = 160;
  }

  ManualClock clock_;
  SlowRunner runner_{clock_};
  kv::BlockPool pool_{32};
  kv::BlockHasher hasher_{"salt"};
  kv::BlockSpace space_{pool_, nullptr, hasher_, 16};
  std::unique_ptr<Sequence> sequence_;
};

TEST_F(StepExecutorTest, PromptsBesideDecodesGetWhatTheTargetLeaves) {
  TimedSwapStore swap(clock_, absl::Milliseconds(1));
  StepExecutor executor(runner_, &swap, clock_, 512);
  StepPlan decodes;
  decodes.decodes = 4;
  EXPECT_EQ(executor.PromptTokensWithin(absl::Milliseconds(50), decodes), 512);  // nothing known
  Learn(executor);  // a millisecond a token
  const int32_t left = executor.PromptTokensWithin(absl::Milliseconds(50), decodes);
  EXPECT_NEAR(left, 50, 5);
  EXPECT_EQ(executor.PromptTokensWithin(absl::Milliseconds(1), decodes), 16);
  EXPECT_EQ(executor.PromptTokensWithin(absl::Minutes(1), decodes), 512);
}

TEST_F(StepExecutorTest, SwapsWhenCopyingIsCheaperThanComputing) {
  TimedSwapStore store(clock_, absl::Milliseconds(1));  // 20 ms there and back, against 160 ms
  StepExecutor executor(runner_, &store, clock_, 512);
  EXPECT_FALSE(executor.SwapIsCheaper(*sequence_)) << "nothing is known yet";
  Learn(executor);
  EXPECT_TRUE(executor.SwapIsCheaper(*sequence_));
}

TEST_F(StepExecutorTest, ComputesAgainWhenCopyingIsSlow) {
  TimedSwapStore store(clock_, absl::Milliseconds(20));  // 400 ms there and back
  StepExecutor executor(runner_, &store, clock_, 512);
  Learn(executor);
  EXPECT_FALSE(executor.SwapIsCheaper(*sequence_));
}

TEST(HostSwapStoreTest, WhatGoesOutComesBackIntoAnyBlock) {
  ChainRunner runner;
  const kernels::KvView& kv = runner.AllocateKv(4, 16);
  const auto store = MakeHostSwapStore(kv, 2);
  std::vector<std::vector<std::byte>> before;
  for (int32_t layer = 0; layer < kv.num_layers; ++layer) {
    before.emplace_back(kv.piece(layer, 1), kv.piece(layer, 1) + kv.block_layer_bytes());
  }
  using Direction = BlockCopy::Direction;
  store->Copy(std::vector<BlockCopy>{{Direction::kToHost, BlockId(1), 1},
                                     {Direction::kToHost, BlockId(0), 0},
                                     {Direction::kToDevice, BlockId(3), 1}});
  for (int32_t layer = 0; layer < kv.num_layers; ++layer) {
    EXPECT_EQ(std::memcmp(before[layer].data(), kv.piece(layer, 3), kv.block_layer_bytes()), 0);
  }
}

// Two ranks' pools: a block's share of each comes back to where it was.
TEST(JoinedSwapStoreTest, ASlotHoldsEveryRanksShareOfABlock) {
  ChainRunner first, second;
  const kernels::KvView pools[] = {first.AllocateKv(4, 16), second.AllocateKv(4, 16)};
  std::memset(pools[1].base, 0x5a, pools[1].pool_bytes());
  std::vector<std::unique_ptr<SwapStore>> ranks;
  for (const kernels::KvView& kv : pools) ranks.push_back(MakeHostSwapStore(kv, 2));
  const auto store = JoinSwapStores(std::move(ranks));
  EXPECT_EQ(store->num_slots(), 2);
  EXPECT_EQ(store->block_bytes(), 2 * pools[0].block_bytes());
  std::memset(pools[0].piece(0, 1), 0x11, pools[0].block_layer_bytes());
  std::memset(pools[1].piece(0, 1), 0x22, pools[1].block_layer_bytes());
  using Direction = BlockCopy::Direction;
  store->Copy(std::vector<BlockCopy>{{Direction::kToHost, BlockId(1), 1},
                                     {Direction::kToDevice, BlockId(3), 1}});
  EXPECT_EQ(*pools[0].piece(0, 3), std::byte{0x11});
  EXPECT_EQ(*pools[1].piece(0, 3), std::byte{0x22});
  EXPECT_EQ(*pools[1].piece(0, 2), std::byte{0x5a}) << "another block";
}

TEST(AdmissionGateTest, BoundsSequencesAndTokens) {
  AdmissionGate gate(3, 100);
  const auto key = [](const char* name) { return WorkKey{{RequestId(name), 0}}; };
  EXPECT_TRUE(gate.Enter(key("a"), 1000).ok()) << "alone, any length gets in";
  EXPECT_EQ(gate.Enter(key("b"), 1).code(), absl::StatusCode::kResourceExhausted);
  gate.LeaveQueue(1000);
  EXPECT_TRUE(gate.Enter(key("b"), 60).ok());
  EXPECT_EQ(gate.Enter(key("c"), 41).code(), absl::StatusCode::kResourceExhausted);
  EXPECT_TRUE(gate.Enter(key("c"), 40).ok());
  EXPECT_EQ(gate.Enter(key("a"), 0).code(), absl::StatusCode::kAlreadyExists);
  gate.Leave(key("a"));
  EXPECT_TRUE(gate.Enter(key("a"), 0).ok());
  EXPECT_EQ(gate.Enter(key("d"), 0).code(), absl::StatusCode::kResourceExhausted);
  gate.Close(Refuse::kEverything);
  EXPECT_EQ(gate.Enter(key("d"), 0).code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_FALSE(gate.empty());
}

TEST(TimelineTest, KeepsTheLastStepsInOrder) {
  Timeline timeline;
  for (int64_t i = 0; i < 1500; ++i) timeline.Add({.number = i});
  const std::vector<StepRecord> steps = timeline.Snapshot();
  ASSERT_EQ(steps.size(), Timeline::kSteps);
  EXPECT_EQ(steps.front().number, 1500 - int64_t{Timeline::kSteps});
  EXPECT_EQ(steps.back().number, 1499);
}

}  // namespace
}  // namespace baton::engine
