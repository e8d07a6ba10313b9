#include "common/worker/stall_watch.h"

#include <gtest/gtest.h>

#include <atomic>

#include "common/concurrency/mailbox.h"

namespace baton::worker {
namespace {

engine::StepFit Fit() {
  return {.base_ms = 1,
          .per_prefill_token_ms = 0.5,
          .per_decode_ms = 2,
          .per_context_token_ms = 0.001,
          .samples = 100};
}

TEST(StallPatienceTest, IsTenTimesTheLongestStepThereCanBe) {
  const engine::EngineOptions options{
      .block_tokens = 16, .num_blocks = 1000, .batch_sequences_max = 10, .step_tokens_max = 512};
  // 1 + 512 * 0.5 + 10 * 2 + 16,000 * 0.001 ms
  EXPECT_EQ(StallPatience(options, Fit(), absl::Seconds(1)), absl::Milliseconds(2930));
  EXPECT_EQ(StallPatience(options, Fit(), absl::Seconds(5)), absl::Seconds(5));
}

TEST(StallPatienceTest, AnEngineThatHasNotMeasuredItselfGetsAMinute) {
  EXPECT_EQ(StallPatience({}, {}, absl::Seconds(5)), absl::Minutes(1));
}

// An engine of which only the age of its step matters, and whether it is idle.
class AgingEngine : public engine::Engine {
 public:
  absl::Status Post(engine::Command command) override {
    posts.Push(std::move(command));
    return absl::OkStatus();
  }
  void Drain(engine::Refuse) override {}
  bool idle() const override { return idles; }
  engine::LoadReport load() const override {
    engine::LoadReport load;
    load.fit = Fit();
    return load;
  }
  absl::Duration step_age() const override { return absl::Seconds(age_seconds.load()); }

  std::atomic<int> age_seconds = 0;
  std::atomic<bool> idles = false;
  Mailbox<engine::Command> posts{0};
};

bool Next(Mailbox<bool>& changes) {
  const auto news = changes.WaitAndDrain(absl::Seconds(10));
  EXPECT_EQ(news.size(), 1u);
  return !news.empty() && news.front();
}

TEST(StallWatchTest, TellsOnceWhenItHangsAndOnceWhenItGoesOn) {
  AgingEngine engine;
  Mailbox<bool> changes{0};
  const StallWatch watch({.every = absl::Milliseconds(1), .least = absl::Seconds(5)}, {}, engine,
                         [&](bool stalled) { changes.Push(stalled); });
  engine.age_seconds = 4;
  EXPECT_TRUE(changes.WaitAndDrain(absl::Milliseconds(20)).empty());
  engine.age_seconds = 60;
  EXPECT_TRUE(Next(changes));
  engine.age_seconds = 0;
  EXPECT_FALSE(Next(changes));
  EXPECT_TRUE(changes.WaitAndDrain(absl::Milliseconds(20)).empty());
}

TEST(StallWatchTest, AnIdleEngineIsGivenACanary) {
  AgingEngine engine;
  const StallWatch watch({.every = absl::Milliseconds(1), .canary_every = absl::Milliseconds(5)},
                         {}, engine, [](bool) {});
  EXPECT_TRUE(engine.posts.WaitAndDrain(absl::Milliseconds(20)).empty()) << "it is at work";
  engine.idles = true;
  const auto posted = engine.posts.WaitAndDrain(absl::Seconds(10));
  ASSERT_FALSE(posted.empty());
  const auto* canary = std::get_if<engine::Submit>(&posted.front());
  ASSERT_NE(canary, nullptr);
  EXPECT_EQ(canary->spec.sampling.max_tokens, 1);
  EXPECT_FALSE(canary->counted) << "idle is idle";
}

}  // namespace
}  // namespace baton::worker
