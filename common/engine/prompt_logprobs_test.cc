// When and where an engine makes the log-probabilities of a prompt. That they are the right ones
// under any schedule is for engine_simulation_test.cc, on real models for engine_invariance_test.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>

#include "common/base/check.h"
#include "common/engine/testing/chain_runner.h"
#include "common/engine/testing/simulated_worker.h"

namespace baton::engine {
namespace {

using testing::ChainOutput;
using testing::ChainRunner;
using testing::GenerateByChain;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::RecordingObserver;
using testing::SimulatedWorker;

class PromptLogprobsTest : public ::testing::Test {
 protected:
  static EngineOptions Options() {
    EngineOptions options;
    options.block_tokens = 16;
    options.num_blocks = 32;
    options.batch_sequences_max = 4;
    options.step_tokens_max = 20;
    return options;
  }
  static SequenceSpec Spec(const std::string& request, int32_t prompt_tokens, int32_t max_tokens) {
    SequenceSpec spec;
    spec.id = {RequestId(request), 0};
    spec.prompt.resize(prompt_tokens);
    std::iota(spec.prompt.begin(), spec.prompt.end(), 5);
    for (int32_t& token : spec.prompt) token %= 61;
    spec.sampling = {.seed = 7, .prompt_logprobs = 2, .max_tokens = max_tokens, .ignore_eos = true};
    return spec;
  }
  void RunToTheEnd(SimulatedWorker& worker) {
    while (!worker.idle()) CHECK(worker.Step(), "stuck");
    EXPECT_EQ(worker.CheckIdle(), "");
  }
  // All of it, in order, with the right scores.
  void ExpectTold(SimulatedWorker& worker, const SequenceSpec& spec) {
    const RecordingObserver::Told told = worker.observer().told(spec.id);
    const ChainOutput want = GenerateByChain(spec, runner_.info(), worker.context_tokens_max());
    EXPECT_EQ(told.finish, FinishReason::kLength);
    EXPECT_FALSE(told.prompt_after_tokens);
    ASSERT_EQ(told.prompt.size(), spec.prompt.size());
    EXPECT_FALSE(told.prompt[0].logprob.has_value());
    for (size_t i = 0; i < told.prompt.size(); ++i) {
      EXPECT_EQ(told.prompt[i].token, spec.prompt[i]);
      EXPECT_EQ(told.prompt[i].logprob, want.prompt[i].logprob) << "prompt token " << i;
      EXPECT_EQ(told.prompt[i].top.size(), want.prompt[i].top.size());
    }
    EXPECT_EQ(told.tokens.size(), want.tokens.size());
  }

  ManualClock clock_;
  ChainRunner runner_;
};

TEST_F(PromptLogprobsTest, ComeWithTheChunkThatMakesThem) {
  SimulatedWorker worker(Options(), runner_, clock_);
  const SequenceSpec spec = Spec("a", 50, 3);
  CHECK_OK(worker.Post(Submit{spec}));
  // A chunk of 20 scores the 20 tokens after the first.
  for (const size_t told : {21, 41, 50}) {
    EXPECT_TRUE(worker.Step());
    EXPECT_EQ(worker.observer().told(spec.id).prompt.size(), told);
  }
  EXPECT_EQ(worker.observer().told(spec.id).tokens.size(), 1u);
  RunToTheEnd(worker);
  ExpectTold(worker, spec);
}

TEST_F(PromptLogprobsTest, TakeNothingFromAPrefixCacheAndLeaveTheirsToOthers) {
  SimulatedWorker worker(Options(), runner_, clock_);
  for (const char* name : {"a", "b"}) {
    const SequenceSpec spec = Spec(name, 50, 2);
    CHECK_OK(worker.Post(Submit{spec}));
    RunToTheEnd(worker);
    ExpectTold(worker, spec);
    EXPECT_EQ(worker.observer().told(spec.id).times.cached_tokens, 0);
  }
  SequenceSpec plain = Spec("c", 50, 2);
  plain.sampling.prompt_logprobs.reset();
  CHECK_OK(worker.Post(Submit{plain}));
  RunToTheEnd(worker);
  EXPECT_EQ(worker.observer().told(plain.id).times.cached_tokens, 48);
  EXPECT_THAT(worker.observer().told(plain.id).prompt, IsEmpty());
}

TEST_F(PromptLogprobsTest, AreMadeHereWhateverThePlacementWanted) {
  SimulatedWorker worker(Options(), runner_, clock_);
  const SequenceSpec scored = Spec("a", 50, 2);
  SequenceSpec nothing_to_generate = Spec("b", 50, 0);
  nothing_to_generate.sampling.prompt_logprobs.reset();
  CHECK_OK(worker.Post(Submit{scored, /*remote_prefill=*/true}));
  CHECK_OK(worker.Post(Submit{nothing_to_generate, /*remote_prefill=*/true}));
  RunToTheEnd(worker);
  EXPECT_THAT(worker.observer().TakePrefillNeeded(), IsEmpty());
  ExpectTold(worker, scored);
  EXPECT_EQ(worker.observer().told(nothing_to_generate.id).finish, FinishReason::kLength);
}

TEST_F(PromptLogprobsTest, AreToldOnceWhenThePromptIsPreemptedHalfWay) {
  for (const PreemptionMode mode : {PreemptionMode::kRecompute, PreemptionMode::kSwap}) {
    EngineOptions options = Options();
    options.num_blocks = 8;
    options.host_blocks = 8;
    options.preemption = mode;
    SimulatedWorker worker(options, runner_, clock_);
    const SequenceSpec spec = Spec("calm", 90, 4);
    CHECK_OK(worker.Post(Submit{spec}));
    EXPECT_TRUE(worker.Step());
    EXPECT_TRUE(worker.Step());
    SequenceSpec urgent = Spec("urgent", 60, 4);
    for (int32_t& token : urgent.prompt) token = 60 - token;
    urgent.priority = -1;
    CHECK_OK(worker.Post(Submit{urgent}));
    RunToTheEnd(worker);
    EXPECT_EQ(worker.observer().told(spec.id).times.preemptions, 1);
    ExpectTold(worker, spec);
    ExpectTold(worker, urgent);
  }
}

TEST_F(PromptLogprobsTest, AScoredPromptMayFillTheWholeContext) {
  SimulatedWorker worker(Options(), runner_, clock_);
  const int32_t context = worker.context_tokens_max();
  const SequenceSpec full = Spec("a", context, 0);
  CHECK_OK(worker.Post(Submit{full}));
  RunToTheEnd(worker);
  ExpectTold(worker, full);
  EXPECT_THAT(MessageOf(worker.Post(Submit{Spec("b", context, 1)})), HasSubstr("with one more"));
  EXPECT_THAT(MessageOf(worker.Post(Submit{Spec("c", context + 1, 0)})),
              HasSubstr(fmt::format("hold {}", context)));
}

TEST_F(PromptLogprobsTest, OfOneTokenThereIsNothingToScore) {
  SimulatedWorker worker(Options(), runner_, clock_);
  for (const int32_t max_tokens : {0, 2}) {
    const SequenceSpec spec = Spec(fmt::format("of{}", max_tokens), 1, max_tokens);
    CHECK_OK(worker.Post(Submit{spec}));
    RunToTheEnd(worker);
    ExpectTold(worker, spec);
  }
}

TEST_F(PromptLogprobsTest, ASiblingFindsThePromptThatWasOnlyScored) {
  SimulatedWorker worker(Options(), runner_, clock_);
  const SequenceSpec first = Spec("a", 50, 0);
  SequenceSpec second = first;
  second.id.choice = 1;
  second.sampling.prompt_logprobs.reset();
  CHECK_OK(worker.Post(Submit{first}));
  CHECK_OK(worker.Post(Submit{.spec = second, .after = first.id}));
  RunToTheEnd(worker);
  ExpectTold(worker, first);
  EXPECT_EQ(worker.observer().told(second.id).finish, FinishReason::kLength);
  EXPECT_EQ(worker.observer().told(second.id).times.cached_tokens, 48);
}

TEST_F(PromptLogprobsTest, EarlierOutputAtThePromptsEndIsNotPartOfIt) {
  SimulatedWorker worker(Options(), runner_, clock_);
  SequenceSpec spec = Spec("a", 50, 4);
  spec.resumed_tokens = 10;
  CHECK_OK(worker.Post(Submit{spec}));
  RunToTheEnd(worker);
  EXPECT_EQ(worker.observer().told(spec.id).prompt.size(), 40u);
}

TEST_F(PromptLogprobsTest, APrefillForSomebodyElseNeedsAFirstToken) {
  SimulatedWorker worker(Options(), runner_, clock_);
  EXPECT_THAT(MessageOf(worker.Post(SubmitPrefill{Spec("a", 50, 0), 1, 0})),
              HasSubstr("max_tokens is 0"));
}

}  // namespace
}  // namespace baton::engine
