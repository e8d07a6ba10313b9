#include "common/engine/engine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "absl/synchronization/notification.h"
#include "common/engine/testing/chain_runner.h"
#include "common/engine/testing/recording_observer.h"

namespace baton::engine {
namespace {

using testing::ChainRunner;
using testing::GenerateByChain;
using ::testing::HasSubstr;
using testing::RecordingObserver;

SequenceId Id(const std::string& request, int32_t choice = 0) {
  return {RequestId(request), choice};
}

SequenceSpec Spec(const std::string& request, int32_t prompt_tokens, int32_t max_tokens) {
  SequenceSpec spec;
  spec.id = Id(request);
  spec.prompt.resize(prompt_tokens);
  std::iota(spec.prompt.begin(), spec.prompt.end(), 5);
  for (int32_t& token : spec.prompt) token %= 61;
  spec.sampling.max_tokens = max_tokens;
  spec.sampling.seed = 7;
  spec.sampling.ignore_eos = true;
  return spec;
}

std::vector<int32_t> Ids(const std::vector<GeneratedToken>& tokens) {
  std::vector<int32_t> ids;
  for (const GeneratedToken& token : tokens) ids.push_back(token.token);
  return ids;
}

class EngineTest : public ::testing::Test {
 protected:
  void Start(EngineOptions options) {
    options.num_blocks = options.num_blocks > 0 ? options.num_blocks : 32;
    runner_.AllocateKv(options.num_blocks, options.block_tokens);
    auto engine = Engine::Start(options, runner_, observer_, Clock::Real());
    ASSERT_TRUE(engine.ok()) << engine.status();
    engine_ = *std::move(engine);
  }
  void WaitUntilIdle() {
    const absl::Time patience = absl::Now() + absl::Seconds(60);
    while (!engine_->idle() && absl::Now() < patience) absl::SleepFor(absl::Milliseconds(1));
    ASSERT_TRUE(engine_->idle());
  }
  void ExpectNothingLeaks() {
    WaitUntilIdle();
    const LoadReport load = engine_->load();
    EXPECT_EQ(load.blocks_free + load.blocks_cached, load.blocks_total);
    EXPECT_EQ(load.waiting + load.running, 0);
    EXPECT_EQ(runner_.broken_links(), 0) << runner_.first_broken_link();
  }
  std::vector<int32_t> Expected(const SequenceSpec& spec) {
    return Ids(GenerateByChain(spec, runner_.info(), 512).tokens);
  }

  ChainRunner runner_;
  RecordingObserver observer_;
  std::unique_ptr<Engine> engine_;
};

TEST_F(EngineTest, GeneratesWhatTheModelSays) {
  Start({});
  const SequenceSpec spec = Spec("a", 40, 20);
  ASSERT_TRUE(engine_->Post(Submit{spec}).ok());
  ASSERT_TRUE(observer_.WaitForFinish(spec.id));
  EXPECT_EQ(Ids(observer_.told(spec.id).tokens), Expected(spec));
  EXPECT_EQ(observer_.told(spec.id).finish, FinishReason::kLength);
  ExpectNothingLeaks();
}

TEST_F(EngineTest, WhatIsNobodysRequestIsInNoTotal) {
  Start({});
  for (const bool counted : {false, true}) {
    const SequenceSpec spec = Spec(counted ? "a" : "b", 10, 3);
    ASSERT_TRUE(engine_->Post(Submit{.spec = spec, .counted = counted}).ok());
    ASSERT_TRUE(observer_.WaitForFinish(spec.id));
    WaitUntilIdle();
    EXPECT_EQ(engine_->load().prompt_tokens, counted ? 10 : 0);
    EXPECT_EQ(engine_->load().output_tokens, counted ? 3 : 0);
  }
}

TEST_F(EngineTest, SaysBothNumbersWhenAPromptCanNeverFit) {
  Start({});
  const absl::Status context = engine_->Post(Submit{Spec("a", 512, 1)});
  EXPECT_EQ(context.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(MessageOf(context), AllOf(HasSubstr("512 tokens"), HasSubstr("context of 512")));
  EngineOptions small;
  small.num_blocks = 2;
  Start(small);
  const absl::Status pool = engine_->Post(Submit{Spec("a", 32, 1)});
  EXPECT_EQ(pool.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(MessageOf(pool), AllOf(HasSubstr("32 tokens"), HasSubstr("cache of 32")));
}

TEST_F(EngineTest, RefusesWhatItCannotUse) {
  Start({});
  SequenceSpec spec = Spec("a", 4, 1);
  spec.prompt[2] = 61;
  EXPECT_THAT(MessageOf(engine_->Post(Submit{spec})), HasSubstr("token 61"));
  spec.prompt.clear();
  EXPECT_THAT(MessageOf(engine_->Post(Submit{spec})), HasSubstr("no tokens"));
  spec = Spec("a", 4, 1);
  spec.resumed_tokens = 5;
  EXPECT_THAT(MessageOf(engine_->Post(Submit{spec})), HasSubstr("resumed_tokens"));
  EXPECT_THAT(MessageOf(engine_->Post(SubmitPrefill{Spec("a", 16, 1), 1, 1})),
              HasSubstr("first_block"));
}

TEST_F(EngineTest, DrainingAcceptsNothingNewAndFinishesTheRest) {
  Start({});
  const SequenceSpec spec = Spec("a", 40, 100);
  ASSERT_TRUE(engine_->Post(Submit{spec}).ok());
  engine_->Drain(Refuse::kEverything);
  EXPECT_EQ(engine_->Post(Submit{Spec("b", 4, 1)}).code(), absl::StatusCode::kFailedPrecondition);
  ASSERT_TRUE(observer_.WaitForFinish(spec.id));
  EXPECT_EQ(Ids(observer_.told(spec.id).tokens), Expected(spec));
  ExpectNothingLeaks();
}

// Its step lasts for as long as the test wants.
class HangingRunner : public ChainRunner {
 public:
  model::StepResult Execute(const model::StepBatch& batch) override {
    in_step.Notify();
    go_on.WaitForNotification();
    return ChainRunner::Execute(batch);
  }
  absl::Notification in_step;
  absl::Notification go_on;
};

TEST_F(EngineTest, DrainingItMayStillComputePromptsForOthers) {
  Start({});
  engine_->Drain(Refuse::kGenerations);
  EXPECT_EQ(engine_->Post(Submit{Spec("a", 4, 1)}).code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_TRUE(engine_->Post(SubmitPrefill{Spec("b", 40, 1), 1, 0}).ok());
  engine_->Drain(Refuse::kEverything);
  EXPECT_EQ(engine_->Post(SubmitPrefill{Spec("c", 40, 1), 2, 0}).code(),
            absl::StatusCode::kFailedPrecondition);
}

TEST_F(EngineTest, TellsItsLoadSoonAfterNewWork) {
  EngineOptions options;
  options.load_report_interval = absl::Hours(1);
  options.load_report_interval_with_new_work = absl::Nanoseconds(1);
  Start(options);
  const SequenceSpec spec = Spec("a", 40, 20);
  ASSERT_TRUE(engine_->Post(Submit{spec}).ok());
  ASSERT_TRUE(observer_.WaitForFinish(spec.id));
  const std::vector<LoadReport> loads = observer_.loads();
  EXPECT_TRUE(std::any_of(loads.begin(), loads.end(),
                          [](const LoadReport& load) { return load.running == 1; }));
}

TEST(EngineLoadTest, NewWorkIsTheLoadBeforeItsFirstStepIsOver) {
  HangingRunner runner;
  runner.AllocateKv(8, 16);
  RecordingObserver observer;
  auto engine = Engine::Start({.num_blocks = 8,
                               .load_report_interval = absl::Hours(1),
                               .load_report_interval_with_new_work = absl::Nanoseconds(1)},
                              runner, observer, Clock::Real());
  ASSERT_TRUE(engine.ok()) << engine.status();
  ASSERT_TRUE((*engine)->Post(Submit{Spec("a", 40, 1)}).ok());
  runner.in_step.WaitForNotification();
  const std::vector<LoadReport> loads = observer.loads();
  ASSERT_FALSE(loads.empty());
  EXPECT_EQ(loads.back().running, 1);
  EXPECT_EQ(loads.back().waiting_tokens, 40);
  runner.go_on.Notify();
  ASSERT_TRUE(observer.WaitForFinish(Id("a")));
}

TEST(EngineStepAgeTest, GrowsForAsLongAsAStepHangsAndIsZeroWithoutOne) {
  HangingRunner runner;
  runner.AllocateKv(8, 16);
  RecordingObserver observer;
  auto engine = Engine::Start({.num_blocks = 8}, runner, observer, Clock::Real());
  ASSERT_TRUE(engine.ok()) << engine.status();
  EXPECT_EQ((*engine)->step_age(), absl::ZeroDuration());
  ASSERT_TRUE((*engine)->Post(Submit{Spec("a", 4, 1)}).ok());
  runner.in_step.WaitForNotification();
  const absl::Duration earlier = (*engine)->step_age();
  EXPECT_GT(earlier, absl::ZeroDuration());
  EXPECT_GT((*engine)->step_age(), earlier);
  runner.go_on.Notify();
  ASSERT_TRUE(observer.WaitForFinish(Id("a")));
  const absl::Time patience = absl::Now() + absl::Seconds(60);
  while ((*engine)->step_age() > absl::ZeroDuration() && absl::Now() < patience) {
    absl::SleepFor(absl::Milliseconds(1));
  }
  EXPECT_EQ((*engine)->step_age(), absl::ZeroDuration());
}

TEST_F(EngineTest, StoppingEndsEverythingAsCancelled) {
  Start({});
  SequenceSpec remote = Spec("remote", 100, 5);
  ASSERT_TRUE(engine_->Post(Submit{remote, /*remote_prefill=*/true}).ok());
  ASSERT_TRUE(observer_.WaitForPrefillNeeded(1));
  engine_.reset();
  EXPECT_EQ(observer_.told(remote.id).finish, FinishReason::kCancelled);
}

TEST_F(EngineTest, TheSameSequenceCannotGoOnTwice) {
  Start({});
  const SequenceSpec spec = Spec("a", 100, 5);
  ASSERT_TRUE(engine_->Post(Submit{spec, /*remote_prefill=*/true}).ok());
  EXPECT_EQ(engine_->Post(Submit{spec}).code(), absl::StatusCode::kAlreadyExists);
  ASSERT_TRUE(engine_->Post(Cancel{spec.id}).ok());
}

TEST_F(EngineTest, ACancelledRemotePrefillKeepsItsBlocksUntilFenced) {
  Start({});
  const SequenceSpec spec = Spec("a", 100, 5);
  ASSERT_TRUE(engine_->Post(Submit{spec, /*remote_prefill=*/true}).ok());
  ASSERT_TRUE(observer_.WaitForPrefillNeeded(1));
  const PrefillNeeded needed = observer_.TakePrefillNeeded().at(0);
  ASSERT_TRUE(engine_->Post(Cancel{spec.id}).ok());
  ASSERT_TRUE(observer_.WaitForFinish(spec.id));
  EXPECT_FALSE(engine_->idle());
  ASSERT_TRUE(engine_->Post(KvFenced{needed.epoch}).ok());
  ExpectNothingLeaks();
}

TEST_F(EngineTest, TheQueueIsBounded) {
  EngineOptions options;
  options.batch_sequences_max = 1;
  options.waiting_sequences_max = 2;
  Start(options);
  // One awaits its KV and holds the only place for remote prefills, so the others stay in the
  // queue.
  ASSERT_TRUE(engine_->Post(Submit{Spec("first", 100, 5), true}).ok());
  ASSERT_TRUE(observer_.WaitForPrefillNeeded(1));
  EXPECT_TRUE(engine_->Post(Submit{Spec("b", 100, 5), true}).ok());
  EXPECT_TRUE(engine_->Post(Submit{Spec("c", 100, 5), true}).ok());
  EXPECT_EQ(engine_->Post(Submit{Spec("d", 100, 5), true}).code(),
            absl::StatusCode::kResourceExhausted);
}

TEST_F(EngineTest, AWrongOptionIsNamed) {
  EngineOptions options;
  options.num_blocks = 8;
  options.block_tokens = 17;
  EXPECT_THAT(MessageOf(options.Validate()), HasSubstr("block_tokens"));
  options.block_tokens = 16;
  options.step_tokens_max = 3;
  EXPECT_THAT(MessageOf(options.Validate()), HasSubstr("step_tokens_max"));
  options.step_tokens_max = 512;
  options.host_blocks = 4;
  EXPECT_THAT(MessageOf(Engine::Start(options, runner_, observer_, Clock::Real()).status()),
              HasSubstr("host_blocks"));
}

}  // namespace
}  // namespace baton::engine
