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
                       const engine::Engine& engine, std::function<void(bool)> on_change)
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
  }
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
