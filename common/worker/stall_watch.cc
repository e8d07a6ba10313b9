#include "common/worker/stall_watch.h"

#include <algorithm>

#include "common/telemetry/logging.h"

namespace baton::worker {
namespace {

constexpr double kTimesLongest = 10;
constexpr int64_t kSamplesMin = 8;
constexpr absl::Duration kUnmeasured = absl::Minutes(1);

}  // namespace

absl::Duration StallPatience(const engine::EngineOptions& options, const engine::StepFit& fit,
                             absl::Duration least) {
  if (fit.samples < kSamplesMin) return std::max(kUnmeasured, least);
  const double context_tokens = static_cast<double>(options.num_blocks) * options.block_tokens;
  const double longest_ms = fit.base_ms + fit.per_prefill_token_ms * options.step_tokens_max +
                            fit.per_decode_ms * options.batch_sequences_max +
                            fit.per_context_token_ms * context_tokens;
  return std::max(kTimesLongest * absl::Milliseconds(longest_ms), least);
}

StallWatch::StallWatch(const Options& options, const engine::EngineOptions& engine_options,
                       engine::Engine& engine, std::function<void(bool)> on_change)
    : options_(options),
      engine_options_(engine_options),
      engine_(engine),
      on_change_(std::move(on_change)),
      thread_([this] { Run(); }) {}

StallWatch::~StallWatch() {
  {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
  }
  thread_.join();
}

void StallWatch::Run() {
  while (true) {
    {
      absl::MutexLock lock(&mutex_);
      if (mutex_.AwaitWithTimeout(absl::Condition(&stopping_), options_.every)) return;
    }
    Look();
    SendCanaryWhenIdle();
  }
}

// Its output is told to the observer as any sequence's, who knows nobody that it is for.
void StallWatch::SendCanaryWhenIdle() {
  const int64_t steps = engine_.load().steps;
  idle_for_ =
      steps == steps_seen_ && engine_.idle() ? idle_for_ + options_.every : absl::ZeroDuration();
  steps_seen_ = steps;
  if (idle_for_ < options_.canary_every) return;
  idle_for_ = absl::ZeroDuration();
  SequenceSpec canary{.id = {RequestId(fmt::format("canary-{}", ++canaries_)), 0}, .prompt = {0}};
  canary.sampling.max_tokens = 1;
  canary.sampling.seed = 0;
  canary.sampling.temperature = 0;
  (void)engine_.Post(
      engine::Submit{.spec = std::move(canary), .counted = false});  // refused: it is not idle
}

void StallWatch::Look() {
  const absl::Duration age = engine_.step_age();
  const bool stalled = age > StallPatience(engine_options_, engine_.load().fit, options_.least);
  if (stalled == stalled_) return;
  stalled_ = stalled;
  if (stalled) {
    telemetry::LogError("worker", "the engine hangs in a step",
                        {{"for", absl::FormatDuration(age)}});
  } else {
    telemetry::LogInfo("worker", "the engine goes on");
  }
  on_change_(stalled);
}

}  // namespace baton::worker
