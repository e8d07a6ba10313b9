#include "services/router/placement/cost_model.h"

#include <gtest/gtest.h>

namespace baton::router {
namespace {

// Numbers that add up in the head: a step costs 10 ms, 1 ms more per decoding sequence and 0.1 ms
// per prompt token; the link moves 1000 bytes in a millisecond.
class CostModelTest : public ::testing::Test {
 protected:
  static CostOptions Options() {
    CostOptions options;
    options.handover_ms = 3;
    options.decode_tokens = 10;
    options.transfer_bytes_per_ms = 1000;
    options.crowding_sequence_ms = 200;
    options.crowding_block_ms = 20;
    return options;
  }
  static WorkerState Worker() {
    WorkerState worker;
    worker.profile.block_tokens = 16;
    worker.profile.step_tokens_max = 100;
    worker.profile.batch_sequences_max = 8;
    worker.profile.kv_bytes_per_token = 10;
    worker.load.engine.blocks_total = 1000;
    worker.load.engine.blocks_free = 1000;
    worker.load.engine.fit = {
        .base_ms = 10, .per_prefill_token_ms = 0.1, .per_decode_ms = 1, .samples = 100};
    return worker;
  }

  const CostModel model_{Options()};
};

TEST_F(CostModelTest, EveryChunkOfAPromptPaysForAStep) {
  EXPECT_DOUBLE_EQ(model_.Local(Worker(), 100, 1).prefill_ms, 10 + 10);
  EXPECT_DOUBLE_EQ(model_.Local(Worker(), 101, 1).prefill_ms, 20 + 10.1);
  WorkerState busy = Worker();
  busy.load.engine.running = 4;
  EXPECT_DOUBLE_EQ(model_.Local(busy, 100, 1).prefill_ms, 14 + 10) << "beside four that decode";
}

TEST_F(CostModelTest, WhatWaitsAheadIsPaidFirst) {
  WorkerState worker = Worker();
  EXPECT_DOUBLE_EQ(model_.Local(worker, 100, 1).queue_ms, 0);
  worker.load.engine.waiting_tokens = 150;
  worker.added_tokens = 50;
  const Estimate estimate = model_.Local(worker, 100, 1);
  EXPECT_DOUBLE_EQ(estimate.queue_ms, 2 * 10 + 20);
  EXPECT_DOUBLE_EQ(estimate.ttft_ms, estimate.queue_ms + estimate.prefill_ms);
}

TEST_F(CostModelTest, CachedTokensAreNotComputedButTheLastOneAlwaysIs) {
  WorkerState worker = Worker();
  worker.cached_blocks = 4;
  EXPECT_DOUBLE_EQ(model_.Local(worker, 100, 1).prefill_ms, 10 + 3.6);
  worker.expected_blocks = 5;
  EXPECT_DOUBLE_EQ(model_.Local(worker, 100, 1).prefill_ms, 10 + 2.0) << "on its way counts";
  worker.cached_blocks = 1000;
  EXPECT_DOUBLE_EQ(model_.Local(worker, 100, 1).prefill_ms, 10 + 0.1);
  EXPECT_DOUBLE_EQ(model_.Local(worker, 1, 1).prefill_ms, 10 + 0.1);
}

TEST_F(CostModelTest, OnlyTheExposedPartOfATransferCounts) {
  // 100 tokens are 1000 bytes: a millisecond on the link, hidden behind 20 ms of computation but
  // for the tenth of the last layers.
  EXPECT_DOUBLE_EQ(model_.Remote(Worker(), Worker(), 100, 1).transfer_ms, 0.1);
  WorkerState decode = Worker();
  decode.profile.kv_bytes_per_token = 1000;  // 100 ms on the link
  EXPECT_DOUBLE_EQ(model_.Remote(decode, Worker(), 100, 1).transfer_ms, 80);
  // Computation, the exposed rest, the messages, and half a step until it joins.
  EXPECT_DOUBLE_EQ(model_.Remote(decode, Worker(), 100, 1).prefill_ms, 20 + 80 + 3 + 5);
  decode.cached_blocks = 5;  // only the 20 tokens that are missing travel
  EXPECT_DOUBLE_EQ(model_.Remote(decode, Worker(), 100, 1).transfer_ms, 2);
}

TEST_F(CostModelTest, TheLinkIsBelievedOnceEnoughWentOverIt) {
  WorkerState decode = Worker(), prefill = Worker();
  decode.profile.kv_bytes_per_token = 1000;
  prefill.load.kv_busy_seconds = 1000;
  prefill.load.kv_bytes = (1 << 20) - 1;
  EXPECT_DOUBLE_EQ(model_.Remote(decode, prefill, 100, 1).transfer_ms, 80) << "too little to tell";
  prefill.load.kv_bytes = 4'000'000;
  prefill.load.kv_busy_seconds = 2;  // 2000 bytes in a millisecond
  EXPECT_DOUBLE_EQ(model_.Remote(decode, prefill, 100, 1).transfer_ms, 30);
}

TEST_F(CostModelTest, AWorkerIsBelievedOnceItHasMeasuredEnough) {
  WorkerState young = Worker();
  young.load.engine.fit.samples = Options().samples_min - 1;
  const engine::StepFit prior = Options().prior;
  EXPECT_DOUBLE_EQ(model_.Local(young, 100, 1).prefill_ms,
                   prior.base_ms + 100 * prior.per_prefill_token_ms);
  EXPECT_DOUBLE_EQ(model_.Remote(Worker(), young, 100, 1).prefill_ms,
                   model_.Remote(Worker(), Worker(), 100, 1).prefill_ms)
      << "as fast as the decode worker it would serve";
}

TEST_F(CostModelTest, OthersAreHarmedByALocalPromptAndNotByARemoteOne) {
  WorkerState busy = Worker();
  busy.load.engine.running = 4;
  // Four are held up by 100 tokens of 0.1 ms; then each of ten steps is a millisecond longer.
  EXPECT_DOUBLE_EQ(model_.Local(busy, 100, 1).harm_ms, 4 * 10 + 10 * 4);
  EXPECT_DOUBLE_EQ(model_.Remote(busy, Worker(), 100, 1).harm_ms, 10 * 4);
  EXPECT_DOUBLE_EQ(model_.Remote(busy, Worker(), 100, 2).harm_ms, 2 * 10 * 4);
}

TEST_F(CostModelTest, NoSlotAndNoBlocksAreCrowding) {
  WorkerState worker = Worker();
  worker.load.engine.running = 6;
  worker.added_sequences = 1;
  EXPECT_DOUBLE_EQ(model_.Local(worker, 100, 1).crowding_ms, 0);
  EXPECT_DOUBLE_EQ(model_.Local(worker, 100, 3).crowding_ms, 2 * 200);
  // 100 tokens and the next one are 7 blocks, and one to grow.
  worker.load.engine.blocks_free = 3;
  worker.load.engine.blocks_cached = 5;
  EXPECT_DOUBLE_EQ(model_.Local(worker, 100, 1).crowding_ms, 0) << "cached ones can be evicted";
  worker.load.engine.blocks_cached = 2;
  EXPECT_DOUBLE_EQ(model_.Local(worker, 100, 1).crowding_ms, 3 * 20);
  worker.load.engine.blocks_total = 0;
  EXPECT_DOUBLE_EQ(model_.Local(worker, 100, 1).crowding_ms, 0) << "it has not reported yet";
}

// All its steps had the same batch, so that its fit knows a fixed part only.
TEST_F(CostModelTest, ABusyWorkerIsNeverTakenForOneWhereMoreIsFree) {
  WorkerState alike = Worker();
  alike.load.engine.fit = {.base_ms = 50, .samples = 100};
  alike.load.engine.running = 5;
  const Estimate estimate = model_.Local(alike, 100, 1);
  EXPECT_DOUBLE_EQ(estimate.decode_ms, 10 * (50 + 0.1 * 50 / 5));
  EXPECT_GT(estimate.harm_ms, 0);
}

TEST_F(CostModelTest, ALongContextIsReadInEveryStep) {
  WorkerState worker = Worker();
  worker.load.engine.fit.per_context_token_ms = 0.02;
  worker.load.engine.running = 4;
  worker.load.engine.blocks_active = 10;
  // The batch as it is, and this one's own decode, of 100 tokens and half of the ten to come.
  EXPECT_DOUBLE_EQ(model_.Local(worker, 100, 1).decode_ms,
                   10 * (10 + 4 + 160 * 0.02 + 1 + 105 * 0.02));
}

TEST_F(CostModelTest, AnUnmeasuredWorkerIsTakenForItsBestMeasuredEqual) {
  WorkerState young = Worker(), old = Worker(), older = Worker();
  young.load.engine.fit = {};
  old.load.engine.fit.base_ms = 77;
  older.load.engine.fit.samples = 1000;
  CostModel model(Options());
  model.SupposeFrom({young, old, older});
  EXPECT_DOUBLE_EQ(model.Local(young, 100, 1).total_ms, model.Local(older, 100, 1).total_ms);
  model.SupposeFrom({young});
  EXPECT_DOUBLE_EQ(model.Local(young, 100, 1).total_ms, model_.Local(young, 100, 1).total_ms);
}

// In a queue that neither grows nor shrinks as many come while it waits as are there now.
TEST_F(CostModelTest, APromptHoldsUpThoseThatWillWaitBehindIt) {
  WorkerState prefill = Worker();
  prefill.load.engine.waiting = 3;
  prefill.added_sequences = 2;
  EXPECT_DOUBLE_EQ(model_.Remote(Worker(), prefill, 100, 1).harm_ms, 5 * 20);
}

TEST_F(CostModelTest, EvictingWhatOthersWouldFindHasItsPrice) {
  WorkerState worker = Worker();
  worker.load.engine.blocks_free = 3;  // of the 8 it needs
  worker.load.engine.blocks_cached = 100;
  worker.load.engine.cached_tokens = 300;
  worker.load.engine.prompt_tokens = 900;
  EXPECT_DOUBLE_EQ(model_.Local(worker, 100, 1).crowding_ms, 0.25 * 5 * 16 * 0.1);
  worker.load.engine.cached_tokens = 0;
  EXPECT_DOUBLE_EQ(model_.Local(worker, 100, 1).crowding_ms, 0) << "nobody ever finds any";
  worker.load.engine.blocks_free = 8;
  worker.load.engine.cached_tokens = 300;
  EXPECT_DOUBLE_EQ(model_.Local(worker, 100, 1).crowding_ms, 0);
}

TEST_F(CostModelTest, OnlyWhatIsBeyondTheItlTargetHarms) {
  CostOptions options = Options();
  WorkerState busy = Worker();
  busy.load.engine.running = 4;  // steps of 14 ms, of 15 with this one
  options.itl_target_ms = 14.25;
  EXPECT_DOUBLE_EQ(CostModel(options).Remote(busy, Worker(), 100, 1).harm_ms, 10 * 0.75 * 4);
  // A prompt of 100 tokens holds four up for 10 ms; at 14.25 ms they have 2.5 ms in hand.
  EXPECT_DOUBLE_EQ(CostModel(options).Local(busy, 100, 1).harm_ms, 4 * 7.5 + 10 * 0.75 * 4);
  options.itl_target_ms = 50;
  EXPECT_DOUBLE_EQ(CostModel(options).Remote(busy, Worker(), 100, 1).harm_ms, 0);
}

TEST_F(CostModelTest, WhatWasLearnedOfAWorkerScalesItsShareOfTheFirstToken) {
  WorkerState worker = Worker();
  worker.load.engine.waiting_tokens = 100;
  const Estimate plain = model_.Local(worker, 100, 1);
  worker.ttft_factor = 2;
  const Estimate learned = model_.Local(worker, 100, 1);
  EXPECT_DOUBLE_EQ(learned.ttft_ms, 2 * plain.ttft_ms);
  EXPECT_DOUBLE_EQ(learned.decode_ms, plain.decode_ms);
  // Twice 10 + 10 ms of computation; then messages, and half a step of the other worker.
  EXPECT_DOUBLE_EQ(model_.Remote(Worker(), worker, 100, 1).prefill_ms, 2 * 20 + 0.1 + 3 + 5);
}

TEST_F(CostModelTest, AnOddFitNeverMakesWorkFree) {
  WorkerState worker = Worker();
  worker.load.engine.fit.base_ms = -5;
  worker.load.engine.fit.per_decode_ms = -1;
  worker.load.engine.fit.per_prefill_token_ms = -0.1;
  worker.load.engine.running = 4;
  const Estimate estimate = model_.Local(worker, 100, 1);
  EXPECT_GE(estimate.prefill_ms, 0);
  EXPECT_GE(estimate.harm_ms, 0);
  EXPECT_GE(estimate.decode_ms, 0);
  worker.profile.step_tokens_max = 0;  // unsaid: no division by it
  EXPECT_GE(model_.Local(worker, 100, 1).total_ms, 0);
}

TEST_F(CostModelTest, TheTotalIsTheSumOfItsParts) {
  WorkerState decode = Worker();
  decode.load.engine.running = 7;
  decode.load.engine.waiting = 3;
  for (const Estimate& e :
       {model_.Local(decode, 300, 2), model_.Remote(decode, Worker(), 300, 2)}) {
    EXPECT_GT(e.crowding_ms, 0);
    EXPECT_DOUBLE_EQ(e.total_ms,
                     e.queue_ms + e.prefill_ms + e.decode_ms + e.harm_ms + e.crowding_ms);
    EXPECT_DOUBLE_EQ(e.decode_ms, 10 * (10 + 8)) << "ten steps of a full batch";
  }
}

}  // namespace
}  // namespace baton::router
