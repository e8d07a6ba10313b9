// Both sides of a remote prefill, told step by step.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>

#include "common/base/check.h"
#include "common/engine/testing/chain_runner.h"
#include "common/engine/testing/simulated_transfer.h"
#include "common/engine/testing/simulated_worker.h"

namespace baton::engine {
namespace {

using testing::ChainRunner;
using ::testing::ElementsAre;
using testing::GenerateByChain;
using ::testing::IsEmpty;
using testing::RecordingObserver;
using testing::SimulatedTransfer;
using testing::SimulatedWorker;

SequenceSpec Spec(const std::string& request, int32_t prompt_tokens, int32_t max_tokens = 8) {
  SequenceSpec spec;
  spec.id = {RequestId(request), 0};
  for (int32_t i = 0; i < prompt_tokens; ++i) spec.prompt.push_back((i * 5 + 1) % 61);
  spec.sampling.max_tokens = max_tokens;
  spec.sampling.seed = 3;
  spec.sampling.ignore_eos = true;
  return spec;
}

EngineOptions Options() {
  EngineOptions options;
  options.block_tokens = 4;
  options.num_blocks = 32;
  options.step_tokens_max = 8;
  options.batch_sequences_max = 4;
  return options;
}

class HandOverTest : public ::testing::Test {
 protected:
  void StepUntilStill(SimulatedWorker& worker) {
    while (worker.Step()) {
    }
  }
  std::vector<int32_t> Ids(const SequenceId& id) {
    std::vector<int32_t> ids;
    for (const GeneratedToken& token : decode_.observer().told(id).tokens) {
      ids.push_back(token.token);
    }
    return ids;
  }
  std::vector<int32_t> Expected(const SequenceSpec& spec) {
    std::vector<int32_t> ids;
    for (const GeneratedToken& token : GenerateByChain(spec, model_.info(), 128).tokens) {
      ids.push_back(token.token);
    }
    return ids;
  }
  PrefillNeeded Needed() {
    std::vector<PrefillNeeded> needed = decode_.observer().TakePrefillNeeded();
    CHECK(needed.size() == 1, "{} prefills needed", needed.size());
    return needed[0];
  }
  GeneratedToken FirstTokenOf(const SequenceSpec& spec) {
    return GenerateByChain(spec, model_.info(), 128).tokens.at(0);
  }
  // As a prefill worker would: by a worker of our own, copied block by block.
  void Deliver(const PrefillNeeded& needed) {
    CHECK_OK(prefill_.Post(SubmitPrefill{needed.spec, needed.epoch, needed.first_block}));
    StepUntilStill(prefill_);
    for (const KvReady& ready : prefill_.observer().TakeKvReady()) {
      for (size_t i = 0; i < ready.blocks.size(); ++i) {
        const BlockId to = needed.blocks.at(ready.first_block + i - needed.first_block);
        std::memcpy(decode_.kv().piece(ready.layer, to.value()),
                    prefill_.kv().piece(ready.layer, ready.blocks[i].value()),
                    decode_.kv().block_layer_bytes());
      }
    }
    CHECK_OK(prefill_.Post(KvSent{needed.spec.id, needed.epoch}));
  }

  ManualClock clock_;
  ChainRunner model_;
  ChainRunner prefill_model_;
  SimulatedWorker decode_{Options(), model_, clock_};
  SimulatedWorker prefill_{Options(), prefill_model_, clock_};
};

TEST_F(HandOverTest, EveryBlockIsToldOnceForEachLayerAndTheRestOfThePromptLast) {
  CHECK_OK(prefill_.Post(SubmitPrefill{Spec("a", 18), 7, /*first_block=*/1}));
  StepUntilStill(prefill_);
  std::vector<std::tuple<int32_t, int32_t, size_t>> told;  // layer, first block, blocks
  for (const KvReady& ready : prefill_.observer().TakeKvReady()) {
    EXPECT_EQ(ready.epoch, 7u);
    told.emplace_back(ready.layer, ready.first_block, ready.blocks.size());
  }
  // Chunks of 8, 8 and 2 tokens complete blocks 0-1, 2-3 and the half-filled 4.
  EXPECT_THAT(told, ElementsAre(std::tuple(0, 1, 1), std::tuple(1, 1, 1), std::tuple(0, 2, 2),
                                std::tuple(1, 2, 2), std::tuple(0, 4, 1), std::tuple(1, 4, 1)));
  const std::vector<PrefillDone> done = prefill_.observer().TakePrefillDone();
  ASSERT_EQ(done.size(), 1u);
  EXPECT_TRUE(done[0].status.ok());
  EXPECT_EQ(done[0].first.token, FirstTokenOf(Spec("a", 18)).token);
}

TEST_F(HandOverTest, BlocksFromThePrefixCacheTravelWithTheFirstChunk) {
  CHECK_OK(prefill_.Post(SubmitPrefill{Spec("a", 16), 1, 0}));
  StepUntilStill(prefill_);
  CHECK_OK(prefill_.Post(KvSent{Spec("a", 16).id, 1}));
  prefill_.observer().TakeKvReady();
  CHECK_OK(prefill_.Post(SubmitPrefill{Spec("b", 18), 2, 0}));
  StepUntilStill(prefill_);
  const std::vector<KvReady> ready = prefill_.observer().TakeKvReady();
  ASSERT_EQ(ready.size(), 2u) << "one per layer";
  EXPECT_EQ(ready[0].first_block, 0);
  EXPECT_EQ(ready[0].blocks.size(), 5u);
  EXPECT_EQ(prefill_.observer().TakePrefillDone().at(1).times.cached_tokens, 16);
}

TEST_F(HandOverTest, TheSourceBlocksStayUntilTheyAreSent) {
  CHECK_OK(prefill_.Post(SubmitPrefill{Spec("a", 18), 1, 0}));
  StepUntilStill(prefill_);
  CHECK_OK(prefill_.Post(Cancel{Spec("a", 18).id}));
  EXPECT_EQ(prefill_.core().pool().counters().active, 5);
  EXPECT_FALSE(prefill_.idle());
  CHECK_OK(prefill_.Post(KvSent{Spec("a", 18).id, 1}));
  prefill_.Step();
  EXPECT_EQ(prefill_.CheckIdle(), "");
}

TEST_F(HandOverTest, APrefillCancelledBeforeAnythingWasToldHoldsNothing) {
  CHECK_OK(prefill_.Post(SubmitPrefill{Spec("a", 18), 1, 0}));
  CHECK_OK(prefill_.Post(Cancel{Spec("a", 18).id}));
  prefill_.Step();
  EXPECT_EQ(prefill_.observer().TakePrefillDone().at(0).status.code(),
            absl::StatusCode::kCancelled);
  EXPECT_EQ(prefill_.CheckIdle(), "");
}

TEST_F(HandOverTest, SentEarlyNothingMoreIsTold) {
  CHECK_OK(prefill_.Post(SubmitPrefill{Spec("a", 18), 1, 0}));
  ASSERT_TRUE(prefill_.Step());
  EXPECT_FALSE(prefill_.observer().TakeKvReady().empty());
  CHECK_OK(prefill_.Post(KvSent{Spec("a", 18).id, 1}));
  StepUntilStill(prefill_);
  EXPECT_THAT(prefill_.observer().TakeKvReady(), IsEmpty());
  EXPECT_EQ(prefill_.CheckIdle(), "");
}

TEST_F(HandOverTest, OnlyTheMissingBlocksAreAskedFor) {
  CHECK_OK(decode_.Post(Submit{Spec("a", 8)}));
  StepUntilStill(decode_);
  const SequenceSpec spec = Spec("b", 30);
  CHECK_OK(decode_.Post(Submit{spec, true}));
  decode_.Step();
  const PrefillNeeded needed = Needed();
  EXPECT_EQ(needed.first_block, 2) << "the two blocks of the first prompt are here";
  EXPECT_EQ(needed.blocks.size(), 6u);
}

TEST_F(HandOverTest, APromptShorterThanABlockTravelsToo) {
  const SequenceSpec spec = Spec("a", 3);
  CHECK_OK(decode_.Post(Submit{spec, true}));
  decode_.Step();
  EXPECT_EQ(Needed().blocks.size(), 1u);
}

TEST_F(HandOverTest, WhatLittleACachedPrefixLeavesIsComputedHere) {
  CHECK_OK(decode_.Post(Submit{Spec("a", 8)}));
  StepUntilStill(decode_);
  const SequenceSpec spec = Spec("b", 12);
  CHECK_OK(decode_.Post(Submit{spec, true}));
  StepUntilStill(decode_);
  EXPECT_EQ(Ids(spec.id), Expected(spec));
  EXPECT_FALSE(decode_.observer().told(spec.id).times.remote_prefill);
}

TEST_F(HandOverTest, AfterArrivalItIsAsIfItHadBeenPrefilledHere) {
  const SequenceSpec spec = Spec("a", 30);
  CHECK_OK(decode_.Post(Submit{spec, true}));
  decode_.Step();
  const PrefillNeeded needed = Needed();
  Deliver(needed);
  CHECK_OK(decode_.Post(KvArrived{spec.id, needed.epoch, FirstTokenOf(spec)}));
  StepUntilStill(decode_);
  EXPECT_EQ(Ids(spec.id), Expected(spec));
  EXPECT_TRUE(decode_.observer().told(spec.id).times.remote_prefill);
  EXPECT_EQ(decode_.core().Load().prompt_tokens, 0) << "nothing of the prompt was computed here";
  EXPECT_EQ(model_.broken_links(), 0) << model_.first_broken_link();
  EXPECT_EQ(decode_.CheckIdle(), "");
}

// It was meant to be computed here, but what is ahead of it takes longer than it would be worth.
TEST_F(HandOverTest, APromptIsPrefilledElsewhereWhenThoseAheadOfItTakeTooLongHere) {
  model_.TakeTime(clock_, absl::Milliseconds(1));
  CHECK_OK(decode_.Post(Submit{Spec("measured", 8, /*max_tokens=*/32)}));
  StepUntilStill(decode_);
  CHECK_OK(decode_.Post(Submit{Spec("ahead", 30)}));
  const SequenceSpec patient = Spec("patient", 29);
  CHECK_OK(decode_.Post(Submit{patient, true, /*local_wait_max=*/absl::Seconds(1)}));
  const SequenceSpec hurried = Spec("hurried", 31);
  CHECK_OK(decode_.Post(Submit{hurried, true, /*local_wait_max=*/absl::Milliseconds(20)}));
  decode_.Step();
  const PrefillNeeded needed = Needed();
  EXPECT_EQ(needed.spec.id, hurried.id);
  Deliver(needed);
  CHECK_OK(decode_.Post(KvArrived{hurried.id, needed.epoch, FirstTokenOf(hurried)}));
  StepUntilStill(decode_);
  EXPECT_EQ(Ids(hurried.id), Expected(hurried));
  EXPECT_TRUE(decode_.observer().told(hurried.id).times.remote_prefill);
  EXPECT_EQ(Ids(patient.id), Expected(patient));
  EXPECT_FALSE(decode_.observer().told(patient.id).times.remote_prefill);
  EXPECT_EQ(decode_.CheckIdle(), "");
}

TEST_F(HandOverTest, AfterAFailureItIsComputedHereInFreshBlocks) {
  const SequenceSpec spec = Spec("a", 30);
  CHECK_OK(decode_.Post(Submit{spec, true}));
  decode_.Step();
  const PrefillNeeded needed = Needed();
  CHECK_OK(decode_.Post(KvFailed{spec.id, needed.epoch, absl::UnavailableError("gone"), false}));
  decode_.Step();
  EXPECT_EQ(decode_.core().pool().counters().quarantined, 8);
  // What the lost worker still writes goes where nobody reads.
  for (const BlockId block : needed.blocks) {
    std::memset(decode_.kv().piece(0, block.value()), 0xab, decode_.kv().block_layer_bytes());
  }
  StepUntilStill(decode_);
  EXPECT_EQ(Ids(spec.id), Expected(spec));
  EXPECT_FALSE(decode_.idle());
  CHECK_OK(decode_.Post(KvFenced{needed.epoch}));
  EXPECT_EQ(decode_.CheckIdle(), "");
}

TEST_F(HandOverTest, SparesTakeThePlaceOfBlocksWhoseWriterDoesNotAnswer) {
  EngineOptions options = Options();
  options.num_blocks = 8;  // the prompt's, all of them
  options.num_spares = 8;
  std::vector<BlockId> dropped;
  options.drop_memory = [&](std::span<const BlockId> blocks) {
    dropped.insert(dropped.end(), blocks.begin(), blocks.end());
  };
  ChainRunner model;
  SimulatedWorker decode(options, model, clock_);
  const SequenceSpec spec = Spec("a", 28, /*max_tokens=*/4);
  CHECK_OK(decode.Post(Submit{spec, true}));
  decode.Step();
  const PrefillNeeded needed = decode.observer().TakePrefillNeeded().at(0);
  CHECK_OK(decode.Post(KvFailed{spec.id, needed.epoch, absl::UnavailableError("silent"), false}));
  StepUntilStill(decode);
  EXPECT_EQ(decode.core().Load().blocks_quarantined, 7);
  EXPECT_TRUE(decode.observer().told(spec.id).tokens.empty()) << "there is room for nobody";
  EXPECT_EQ(decode.core().next_deadline(), clock_.Monotonic() + options.quarantine_patience);

  clock_.Advance(options.quarantine_patience);
  StepUntilStill(decode);
  EXPECT_EQ(decode.observer().told(spec.id).tokens.size(), 4u);
  EXPECT_EQ(decode.core().Load().blocks_quarantined, 0);
  EXPECT_EQ(decode.core().Load().blocks_replaced, 7);
  EXPECT_EQ(dropped, needed.blocks);
  EXPECT_FALSE(decode.idle()) << "it may still write";
  CHECK_OK(decode.Post(KvFenced{needed.epoch}));
  EXPECT_EQ(dropped.size(), 14u) << "what it wrote meanwhile is given back too";
  EXPECT_EQ(decode.CheckIdle(), "");
}

TEST_F(HandOverTest, WithTooFewSparesTheRestWaitsForMore) {
  EngineOptions options = Options();
  options.num_spares = 10;
  ChainRunner model;
  SimulatedWorker decode(options, model, clock_);
  std::vector<uint64_t> epochs;
  for (const std::string id : {"a", "b"}) {
    const SequenceSpec spec = Spec(id, 28);
    CHECK_OK(decode.Post(Submit{spec, true}));
    decode.Step();
    epochs.push_back(decode.observer().TakePrefillNeeded().at(0).epoch);
    CHECK_OK(decode.Post(KvFailed{spec.id, epochs.back(), absl::UnavailableError("silent")}));
  }
  StepUntilStill(decode);
  clock_.Advance(options.quarantine_patience);
  decode.Step();
  EXPECT_EQ(decode.core().Load().blocks_replaced, 10);
  EXPECT_EQ(decode.core().Load().blocks_quarantined, 4);
  EXPECT_EQ(decode.core().next_deadline(), absl::InfiniteDuration()) << "nothing to wake up for";
  CHECK_OK(decode.Post(KvFenced{epochs[0]}));
  decode.Step();
  EXPECT_EQ(decode.core().Load().blocks_quarantined, 0);
  EXPECT_EQ(decode.core().Load().blocks_replaced, 7);
  CHECK_OK(decode.Post(KvFenced{epochs[1]}));
  EXPECT_EQ(decode.CheckIdle(), "");
}

TEST_F(HandOverTest, AFencedFailureFreesTheBlocksAtOnce) {
  const SequenceSpec spec = Spec("a", 30);
  CHECK_OK(decode_.Post(Submit{spec, true}));
  decode_.Step();
  CHECK_OK(decode_.Post(KvFailed{spec.id, Needed().epoch, absl::UnavailableError("no"), true}));
  EXPECT_EQ(decode_.core().pool().counters().quarantined, 0);
  StepUntilStill(decode_);
  EXPECT_EQ(Ids(spec.id), Expected(spec));
}

TEST_F(HandOverTest, ALateArrivalOnlyEndsTheQuarantine) {
  const SequenceSpec spec = Spec("a", 30);
  CHECK_OK(decode_.Post(Submit{spec, true}));
  decode_.Step();
  const PrefillNeeded needed = Needed();
  CHECK_OK(decode_.Post(Cancel{spec.id}));
  decode_.Step();
  EXPECT_EQ(decode_.core().pool().counters().quarantined, 8);
  CHECK_OK(decode_.Post(KvArrived{spec.id, needed.epoch, {.token = 5}}));
  decode_.Step();
  EXPECT_THAT(Ids(spec.id), IsEmpty());
  EXPECT_EQ(decode_.CheckIdle(), "");
}

TEST_F(HandOverTest, AFirstTokenOutsideTheVocabularyIsNotBelieved) {
  const SequenceSpec spec = Spec("a", 30);
  CHECK_OK(decode_.Post(Submit{spec, true}));
  decode_.Step();
  CHECK_OK(decode_.Post(KvArrived{spec.id, Needed().epoch, {.token = 61}}));
  StepUntilStill(decode_);
  EXPECT_EQ(Ids(spec.id), Expected(spec)) << "computed here instead";
}

TEST_F(HandOverTest, TheDeadlineAlsoPassesWhileAwaiting) {
  SequenceSpec spec = Spec("a", 30);
  spec.time_left = absl::Seconds(1);
  CHECK_OK(decode_.Post(Submit{spec, true}));
  decode_.Step();
  const PrefillNeeded needed = Needed();
  EXPECT_EQ(decode_.core().next_deadline(), clock_.Monotonic() + absl::Seconds(1));
  EXPECT_EQ(needed.spec.time_left, absl::Seconds(1)) << "the prefill worker has no longer";
  clock_.Advance(absl::Seconds(1));
  decode_.Step();
  const RecordingObserver::Told told = decode_.observer().told(spec.id);
  EXPECT_EQ(told.finish, FinishReason::kError);
  EXPECT_EQ(told.status.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(decode_.core().pool().counters().quarantined, 8);
  CHECK_OK(decode_.Post(KvFenced{needed.epoch}));
  EXPECT_EQ(decode_.CheckIdle(), "");
}

TEST_F(HandOverTest, ASiblingOfARemotePrefillFindsItsPromptHere) {
  const SequenceSpec spec = Spec("a", 30);
  SequenceSpec sibling = spec;
  sibling.id.choice = 1;
  sibling.sampling.seed = 4;
  CHECK_OK(decode_.Post(Submit{spec, true}));
  CHECK_OK(decode_.Post(Submit{.spec = sibling, .remote_prefill = true, .after = spec.id}));
  decode_.Step();
  const PrefillNeeded needed = Needed();  // one only
  Deliver(needed);
  CHECK_OK(decode_.Post(KvArrived{spec.id, needed.epoch, FirstTokenOf(spec)}));
  StepUntilStill(decode_);
  EXPECT_EQ(decode_.observer().told(sibling.id).times.cached_tokens, 28);
  EXPECT_EQ(Ids(sibling.id), Expected(sibling));
}

TEST_F(HandOverTest, ASiblingOfACancelledOneGoesOnAlone) {
  const SequenceSpec spec = Spec("a", 30);
  SequenceSpec sibling = spec;
  sibling.id.choice = 1;
  CHECK_OK(decode_.Post(Submit{spec, true}));
  CHECK_OK(decode_.Post(Submit{.spec = sibling, .after = spec.id}));
  CHECK_OK(decode_.Post(Cancel{spec.id}));
  StepUntilStill(decode_);
  EXPECT_EQ(Ids(sibling.id), Expected(sibling));
}

}  // namespace
}  // namespace baton::engine
