#include "common/engine/scheduler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <random>
#include <set>

namespace baton::engine {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr int32_t kBlockTokens = 4;

// A scheduler with its blocks, and steps that are executed by saying so.
class Bench {
 public:
  Bench(int32_t num_blocks, const SchedulerOptions& options, bool prefer_swap = false)
      : pool_(num_blocks),
        scheduler_(
            options, space_, [prefer_swap](const Sequence&) { return prefer_swap; },
            [](int64_t tokens) { return absl::Milliseconds(tokens); },
            [this](const StepPlan& plan) { return prompt_tokens_beside(plan); }) {
    info_.vocab = 1000;
    info_.context_tokens_max = num_blocks * kBlockTokens;
  }
  ~Bench() {
    for (auto& sequence : sequences_) sequence->blocks.Release();
  }

  // Prompts begin with their `family`, and are all different otherwise.
  Sequence& Add(int32_t prompt_tokens, int32_t priority = 0, int32_t shared_tokens = 0) {
    Sequence& sequence = Make(prompt_tokens, priority, shared_tokens);
    scheduler_.Enqueue(sequence);
    return sequence;
  }
  Sequence& AddRemote(int32_t prompt_tokens, int32_t shared_tokens = 0) {
    Sequence& sequence = Make(prompt_tokens, 0, shared_tokens);
    sequence.remote_prefill = true;
    scheduler_.Enqueue(sequence);
    return sequence;
  }
  // To be computed here, unless the prompts ahead of it take longer: a millisecond a token.
  Sequence& AddWithSpare(int32_t prompt_tokens, absl::Duration local_wait_max) {
    Sequence& sequence = Make(prompt_tokens, 0, 0);
    sequence.local_wait_max = local_wait_max;
    scheduler_.Enqueue(sequence);
    return sequence;
  }
  Sequence& AddForSomebodyElse(int32_t prompt_tokens, int32_t priority) {
    Sequence& sequence = Make(prompt_tokens, priority, 0);
    sequence.prefill_only = true;
    scheduler_.Enqueue(sequence);
    return sequence;
  }

  // Plans a step, and does as if it had been run.
  StepPlan Step() {
    const StepPlan plan = scheduler_.Plan();
    for (const StepPlan::Part& part : plan.parts) {
      scheduler_.Begin(part);
      scheduler_.Commit(part);
      if (part.sequence->pending_tokens() == 0) part.sequence->tokens.push_back(7);
    }
    return plan;
  }
  // The prompt of one that is computed elsewhere is here, with its first token.
  void Arrive(Sequence& sequence) {
    scheduler_.Join(sequence);
    sequence.num_computed = sequence.num_tokens();
    sequence.blocks.Commit(sequence.tokens, sequence.num_computed);
    sequence.tokens.push_back(7);
    sequence.sampling.Add(7);
  }
  void Finish(Sequence& sequence) {
    scheduler_.Remove(sequence);
    sequence.blocks.Release();
    sequence.state = SequenceState::kHandedOver;
  }

  // How many tokens of prompts a step with decodes may have.
  std::function<int32_t(const StepPlan&)> prompt_tokens_beside = [](const StepPlan&) {
    return 1 << 20;
  };

  Scheduler& scheduler() { return scheduler_; }
  kv::BlockPool& pool() { return pool_; }
  const std::vector<std::unique_ptr<Sequence>>& sequences() const { return sequences_; }

 private:
  Sequence& Make(int32_t prompt_tokens, int32_t priority, int32_t shared_tokens) {
    SequenceSpec spec;
    spec.id = {RequestId(fmt::format("s{}", sequences_.size())), 0};
    spec.priority = priority;
    spec.sampling.max_tokens = 100;
    for (int32_t i = 0; i < prompt_tokens; ++i) {
      spec.prompt.push_back(i < shared_tokens ? i : 100 + int32_t(sequences_.size()));
    }
    sequences_.push_back(
        std::make_unique<Sequence>(std::move(spec), space_, info_, info_.context_tokens_max));
    sequences_.back()->arrival = sequences_.size();
    return *sequences_.back();
  }

  model::ModelInfo info_;
  kv::BlockPool pool_;
  kv::PrefixCache cache_{pool_};
  kv::BlockHasher hasher_{"salt"};
  kv::BlockSpace space_{pool_, &cache_, hasher_, kBlockTokens};
  Scheduler scheduler_;
  std::vector<std::unique_ptr<Sequence>> sequences_;
};

std::vector<std::pair<Sequence*, int32_t>> PartsOf(const StepPlan& plan) {
  std::vector<std::pair<Sequence*, int32_t>> parts;
  for (const StepPlan::Part& part : plan.parts)
    parts.emplace_back(part.sequence, part.query_tokens);
  return parts;
}

TEST(SchedulerTest, DecodesComeBeforeChunksAndBothShareTheBudget) {
  Bench bench(100, {.batch_sequences_max = 4, .step_tokens_max = 8});
  Sequence& first = bench.Add(6);
  Sequence& second = bench.Add(20);
  EXPECT_THAT(PartsOf(bench.Step()), ElementsAre(std::pair(&first, 6), std::pair(&second, 2)));
  const StepPlan plan = bench.Step();
  EXPECT_THAT(PartsOf(plan), ElementsAre(std::pair(&first, 1), std::pair(&second, 7)));
  EXPECT_EQ(plan.decodes, 1);
  EXPECT_EQ(plan.prefill_tokens, 7);
  EXPECT_EQ(plan.context_tokens, 7 + 9);
}

TEST(SchedulerTest, PromptsTakeNoMoreOfAStepThanItsDecodesMayWaitFor) {
  Bench bench(100, {.batch_sequences_max = 4, .step_tokens_max = 40});
  bench.prompt_tokens_beside = [](const StepPlan& plan) { return plan.decodes == 1 ? 5 : 3; };
  Sequence& first = bench.Add(6);
  EXPECT_THAT(PartsOf(bench.Step()), ElementsAre(std::pair(&first, 6)));  // nobody waits for it
  Sequence& second = bench.Add(7);
  Sequence& third = bench.Add(9);
  EXPECT_THAT(PartsOf(bench.Step()), ElementsAre(std::pair(&first, 1), std::pair(&second, 5)));
  EXPECT_THAT(PartsOf(bench.Step()),
              ElementsAre(std::pair(&first, 1), std::pair(&second, 2), std::pair(&third, 3)));
  EXPECT_THAT(PartsOf(bench.Step()),
              ElementsAre(std::pair(&first, 1), std::pair(&second, 1), std::pair(&third, 3)));
  bench.Finish(first);
  bench.Finish(second);
  EXPECT_THAT(PartsOf(bench.Step()), ElementsAre(std::pair(&third, 3)));
}

TEST(SchedulerTest, FirstComeFirstServedWithinAPriority) {
  Bench bench(100, {.batch_sequences_max = 1, .step_tokens_max = 8});
  Sequence& relaxed = bench.Add(2, /*priority=*/5);
  Sequence& early = bench.Add(2);
  Sequence& late = bench.Add(2);
  std::vector<Sequence*> order;
  for (int i = 0; i < 3; ++i) {
    order.push_back(bench.Step().parts.at(0).sequence);
    bench.Finish(*order.back());
  }
  EXPECT_THAT(order, ElementsAre(&early, &late, &relaxed));
}

TEST(SchedulerTest, NobodyOvertakesTheHeadOfTheQueue) {
  Bench bench(10, {.batch_sequences_max = 4, .step_tokens_max = 100});
  bench.Add(24);                  // six blocks
  Sequence& big = bench.Add(16);  // four, but one must be left for the first
  Sequence& small = bench.Add(4);
  bench.Step();
  EXPECT_EQ(big.state, SequenceState::kWaiting);
  EXPECT_EQ(small.state, SequenceState::kWaiting);
}

TEST(SchedulerTest, ACachedPromptStillComputesItsLastToken) {
  Bench bench(20, {.batch_sequences_max = 4, .step_tokens_max = 100});
  Sequence& first = bench.Add(8, 0, 8);
  bench.Step();
  Sequence& second = bench.Add(8, 0, 8);
  EXPECT_THAT(PartsOf(bench.Step()), ElementsAre(std::pair(&first, 1), std::pair(&second, 4)));
}

TEST(SchedulerTest, ADecodeWithoutABlockPreemptsTheLastInOrder) {
  Bench bench(5, {.batch_sequences_max = 4, .step_tokens_max = 100});
  Sequence& first = bench.Add(7);
  Sequence& second = bench.Add(4);
  Sequence& third = bench.Add(4);
  bench.Step();
  // The second takes the last block; the third lacks one, and is last.
  EXPECT_THAT(PartsOf(bench.Step()), ElementsAre(std::pair(&first, 1), std::pair(&second, 1)));
  EXPECT_EQ(third.state, SequenceState::kRunning);
  bench.Step();  // the first needs its third block
  EXPECT_EQ(third.state, SequenceState::kWaiting);
  EXPECT_EQ(third.num_computed, 0) << "by recompute";
  EXPECT_EQ(first.times.preemptions + second.times.preemptions, 0);
}

TEST(SchedulerTest, AStepIsPlannedAheadOnlyWhereNobodyCanLoseBlocks) {
  Bench bench(6, {.batch_sequences_max = 4, .step_tokens_max = 100});
  bench.Add(7);
  bench.Step();
  EXPECT_TRUE(bench.scheduler().CanPlanAhead());
  bench.Add(4);
  bench.Add(4);
  bench.Step();  // three run, two blocks are left
  EXPECT_FALSE(bench.scheduler().CanPlanAhead());
}

TEST(SchedulerTest, AStepIsNotPlannedAheadOfSomebodyMoreUrgent) {
  Bench bench(20, {.batch_sequences_max = 1, .step_tokens_max = 100});
  bench.Add(4);
  bench.Step();
  bench.Add(4);
  EXPECT_TRUE(bench.scheduler().CanPlanAhead()) << "who waits is not more urgent";
  bench.Add(4, /*priority=*/-1);
  EXPECT_FALSE(bench.scheduler().CanPlanAhead());
}

TEST(SchedulerTest, WhoseLastTokenIsToComeHasNoPartInAStep) {
  Bench bench(20, {.batch_sequences_max = 4, .step_tokens_max = 100});
  Sequence& first = bench.Add(4);
  Sequence& second = bench.Add(4);
  bench.Step();
  first.tokens.pop_back();
  EXPECT_EQ(first.pending_tokens(), 0);
  EXPECT_THAT(PartsOf(bench.Step()), ElementsAre(std::pair(&second, 1)));
}

TEST(SchedulerTest, TheLastInOrderSitsOutRatherThanGiveEverythingUp) {
  Bench bench(4, {.batch_sequences_max = 4, .step_tokens_max = 100});
  Sequence& first = bench.Add(5);   // two blocks, full with its eighth token
  Sequence& second = bench.Add(4);  // one block, and one with its next token
  bench.Step();
  EXPECT_THAT(PartsOf(bench.Step()), ElementsAre(std::pair(&first, 1), std::pair(&second, 1)));
  for (int i = 0; i < 2; ++i) bench.Step();
  EXPECT_EQ(second.num_computed, 7);
  bench.Step();  // the first needs a third block: the second has to go
  EXPECT_EQ(second.times.preemptions, 1);
  EXPECT_EQ(first.times.preemptions, 0);
}

TEST(SchedulerTest, SwappedOutItKeepsWhatIsComputed) {
  Bench bench(4, {.batch_sequences_max = 4, .step_tokens_max = 100, .host_blocks = 2},
              /*prefer_swap=*/true);
  Sequence& first = bench.Add(5);
  Sequence& second = bench.Add(4);
  StepPlan plan;
  while (plan.preempted == 0) plan = bench.Step();
  EXPECT_EQ(second.num_computed, 7);
  ASSERT_EQ(plan.copies.size(), 2u);
  EXPECT_EQ(plan.copies[0].direction, BlockCopy::Direction::kToHost);
  EXPECT_EQ(bench.scheduler().host_slots_free(), 0);
  bench.Finish(first);
  plan = bench.Step();
  EXPECT_EQ(bench.scheduler().host_slots_free(), 2);
  // Its first block was still in the prefix cache, or was copied back; the half-filled one was
  // copied.
  ASSERT_FALSE(plan.copies.empty());
  EXPECT_EQ(plan.copies.back().direction, BlockCopy::Direction::kToDevice);
  EXPECT_THAT(PartsOf(plan), ElementsAre(std::pair(&second, 1)));
}

TEST(SchedulerTest, WithoutRoomInHostMemoryItIsComputedAgain) {
  Bench bench(4, {.batch_sequences_max = 4, .step_tokens_max = 100, .host_blocks = 1},
              /*prefer_swap=*/true);
  bench.Add(5);
  Sequence& second = bench.Add(4);
  StepPlan plan;
  while (plan.preempted == 0) plan = bench.Step();
  EXPECT_THAT(plan.copies, IsEmpty());
  EXPECT_EQ(second.num_computed, 0);
}

TEST(SchedulerTest, AMoreUrgentSequencePreemptsALessUrgentOne) {
  Bench bench(100, {.batch_sequences_max = 2, .step_tokens_max = 100});
  Sequence& calm = bench.Add(4, /*priority=*/1);
  Sequence& calmer = bench.Add(4, /*priority=*/2);
  bench.Step();
  Sequence& urgent = bench.Add(4, /*priority=*/0);
  bench.Step();
  EXPECT_EQ(urgent.state, SequenceState::kRunning);
  EXPECT_EQ(calm.state, SequenceState::kRunning);
  EXPECT_EQ(calmer.state, SequenceState::kWaiting);
}

TEST(SchedulerTest, NobodyIsPreemptedInVain) {
  Bench bench(8, {.batch_sequences_max = 4, .step_tokens_max = 100});
  Sequence& urgent = bench.Add(16, /*priority=*/0);  // four blocks that stay
  Sequence& calm = bench.Add(4, /*priority=*/1);
  bench.Step();
  bench.Add(20, /*priority=*/0);  // five: more than the calm one could free
  bench.Step();
  EXPECT_EQ(urgent.state, SequenceState::kRunning);
  EXPECT_EQ(calm.state, SequenceState::kRunning);
}

TEST(SchedulerTest, APrefillForSomebodyElseIsNeverPreempted) {
  Bench bench(100, {.batch_sequences_max = 2, .step_tokens_max = 4});
  Sequence& prefill = bench.AddForSomebodyElse(20, /*priority=*/9);
  bench.Step();
  Sequence& second = bench.Add(4, /*priority=*/8);
  bench.Step();
  bench.Add(4, /*priority=*/0);
  bench.Step();
  EXPECT_EQ(prefill.state, SequenceState::kRunning);
  EXPECT_EQ(second.state, SequenceState::kWaiting);
}

TEST(SchedulerTest, ARemotePrefillTakesItsBlocksAndNoPlaceInTheBatch) {
  Bench bench(100, {.batch_sequences_max = 1, .step_tokens_max = 100});
  Sequence& running = bench.Add(4);
  Sequence& remote = bench.AddRemote(20);
  const StepPlan plan = bench.Step();
  EXPECT_THAT(plan.awaiting, ElementsAre(&remote));
  EXPECT_EQ(remote.blocks.num_blocks(), 5);
  EXPECT_THAT(PartsOf(plan), ElementsAre(std::pair(&running, 4)));
}

TEST(SchedulerTest, ABlockOrLessIsNotWorthATrip) {
  Bench bench(100, {.batch_sequences_max = 4, .step_tokens_max = 100});
  Sequence& first = bench.Add(8, 0, 8);
  bench.Step();
  Sequence& remote = bench.AddRemote(12, /*shared_tokens=*/8);
  const StepPlan plan = bench.Step();
  EXPECT_THAT(plan.awaiting, IsEmpty());
  EXPECT_THAT(PartsOf(plan), ElementsAre(std::pair(&first, 1), std::pair(&remote, 4)));
}

TEST(SchedulerTest, APromptComputedElsewhereGoesPastThoseThatWaitForAStepsTokens) {
  Bench bench(100, {.batch_sequences_max = 4, .step_tokens_max = 8});
  Sequence& running = bench.Add(20);
  Sequence& waiting = bench.Add(8);
  Sequence& remote = bench.AddRemote(20);
  const StepPlan plan = bench.Step();
  EXPECT_THAT(PartsOf(plan), ElementsAre(std::pair(&running, 8)));
  EXPECT_THAT(plan.awaiting, ElementsAre(&remote));
  EXPECT_EQ(waiting.state, SequenceState::kWaiting);
}

TEST(SchedulerTest, WhoGoesPastLeavesBlocksAndAPlaceInTheBatch) {
  // Nine blocks: five run, two are kept for the one that waits and one for those that run.
  Bench blocks(9, {.batch_sequences_max = 4, .step_tokens_max = 8});
  blocks.Add(20);
  blocks.Add(8);
  blocks.AddRemote(8);
  EXPECT_THAT(blocks.Step().awaiting, IsEmpty());

  Bench places(100, {.batch_sequences_max = 2, .step_tokens_max = 8});
  places.Add(20);
  places.Add(8);
  places.AddRemote(8);
  EXPECT_THAT(places.Step().awaiting, IsEmpty());
}

TEST(SchedulerTest, APromptIsComputedElsewhereWhenThoseAheadOfItTakeTooLong) {
  Bench bench(100, {.batch_sequences_max = 8, .step_tokens_max = 8});
  bench.Add(20);
  bench.Add(8);
  Sequence& patient = bench.AddWithSpare(12, absl::Milliseconds(28));
  Sequence& hurried = bench.AddWithSpare(12, absl::Milliseconds(39));  // 20 + 8 + 12 are ahead
  const StepPlan plan = bench.Step();
  EXPECT_THAT(plan.awaiting, ElementsAre(&hurried));
  EXPECT_EQ(patient.state, SequenceState::kWaiting);
}

TEST(SchedulerTest, APromptThatHasATokenIsNotComputedElsewhereAnyMore) {
  Bench bench(6, {.batch_sequences_max = 8, .step_tokens_max = 32});
  Sequence& sequence = bench.AddWithSpare(8, absl::ZeroDuration());
  bench.Step();
  sequence.sampling.Add(7);
  Sequence& urgent = bench.Add(16, /*priority=*/-1);
  const StepPlan plan = bench.Step();
  EXPECT_EQ(plan.preempted, 1);
  EXPECT_EQ(sequence.state, SequenceState::kWaiting);
  EXPECT_THAT(plan.awaiting, IsEmpty());
  bench.Finish(urgent);
  EXPECT_THAT(bench.Step().awaiting, IsEmpty());
  EXPECT_EQ(sequence.state, SequenceState::kRunning);
}

// Whatever comes, a plan keeps to its limits, and the first in the batch is never the one to go.
TEST(SchedulerPropertyTest, EveryPlanKeepsItsLimits) {
  for (uint64_t seed = 0; seed < 300; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937_64 random(seed);
    const auto uniform = [&](int low, int high) {
      return std::uniform_int_distribution<int>(low, high)(random);
    };
    SchedulerOptions options;
    options.batch_sequences_max = uniform(1, 6);
    options.step_tokens_max = options.batch_sequences_max + uniform(0, 20);
    options.host_blocks = uniform(0, 10);
    const int num_blocks = uniform(4, 30);
    Bench bench(num_blocks, options, uniform(0, 1) == 1);
    for (int step = 0; step < 200; ++step) {
      if (uniform(0, 4) == 0) {
        const int tokens = uniform(1, num_blocks * kBlockTokens - 1);
        const int kind = uniform(0, 9);
        if (kind == 0) {
          bench.AddRemote(tokens);
        } else if (kind == 1) {
          bench.AddWithSpare(tokens, absl::Milliseconds(uniform(0, 40)));
        } else {
          bench.Add(tokens, uniform(-1, 1), uniform(0, tokens));
        }
      }
      for (const auto& sequence : bench.sequences()) {
        if (sequence->state == SequenceState::kAwaitingKv && uniform(0, 3) == 0) {
          bench.Arrive(*sequence);
        }
      }
      const StepPlan plan = bench.Step();
      ASSERT_LE(plan.decodes + plan.prefill_tokens, options.step_tokens_max);
      ASSERT_LE(static_cast<int>(plan.parts.size()), options.batch_sequences_max);
      std::set<Sequence*> distinct;
      Sequence* first = nullptr;
      for (const StepPlan::Part& part : plan.parts) {
        ASSERT_TRUE(distinct.insert(part.sequence).second);
        ASSERT_GE(part.query_tokens, 1);
        ASSERT_EQ(part.sequence->state, SequenceState::kRunning);
        ASSERT_GE(part.sequence->blocks.num_blocks() * kBlockTokens, part.sequence->num_computed);
      }
      for (const auto& sequence : bench.sequences()) {
        if (sequence->state != SequenceState::kRunning) continue;
        if (first == nullptr || sequence->Before(*first)) first = sequence.get();
      }
      // Blocks that others write to can be taken from nobody; they come back by themselves.
      if (first != nullptr && plan.admitted.empty() && bench.scheduler().num_awaiting() == 0) {
        ASSERT_TRUE(distinct.contains(first)) << "the first in the batch does not get on";
      }
      for (const auto& sequence : bench.sequences()) {
        const bool full = sequence->num_tokens() >= num_blocks * kBlockTokens;
        if (sequence->state == SequenceState::kRunning && (full || uniform(0, 15) == 0)) {
          bench.Finish(*sequence);
        }
      }
    }
  }
}

}  // namespace
}  // namespace baton::engine
