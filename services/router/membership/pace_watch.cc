#include "services/router/membership/pace_watch.h"

#include <algorithm>

namespace baton::router {
namespace {

// A fit from before is kept as long as it is not clear that the worker is slower now.
constexpr double kClearlySlower = 2;

engine::StepWork operator-(const engine::StepWork& end, const engine::StepWork& begin) {
  return {.steps = end.steps - begin.steps,
          .tokens = end.tokens - begin.tokens,
          .context_tokens = end.context_tokens - begin.context_tokens,
          .ms = end.ms - begin.ms};
}

}  // namespace

double PaceWatch::Predict(const engine::StepFit& fit, const engine::StepWork& work) const {
  const bool decode = role_ == WorkerRole::kDecode;
  return fit.base_ms * static_cast<double>(work.steps) +
         (decode ? fit.per_decode_ms : fit.per_prefill_token_ms) *
             static_cast<double>(work.tokens) +
         fit.per_context_token_ms * static_cast<double>(work.context_tokens);
}

double PaceWatch::Judge(const engine::StepWork& work, std::vector<engine::StepFit> equals) const {
  std::erase_if(equals, [&](const auto& fit) { return fit.samples < options_.samples_min; });
  if (equals.empty() || fit_well_.samples < options_.samples_min) return 0;
  std::vector<double> predicted;
  for (const engine::StepFit& fit : equals) predicted.push_back(Predict(fit, work));
  const auto median = predicted.begin() + static_cast<ptrdiff_t>(predicted.size() / 2);
  std::nth_element(predicted.begin(), median, predicted.end());
  const double expected = std::max(*median, Predict(fit_well_, work));
  return expected > 0 ? work.ms / expected : 0;
}

PaceWatch::News PaceWatch::OnReport(const engine::LoadReport& load,
                                    const std::function<std::vector<engine::StepFit>()>& equals) {
  const engine::StepWork& now = role_ == WorkerRole::kDecode ? load.decode_work : load.prefill_work;
  const engine::StepWork work = now - begin_;
  const bool over =
      work.ms >= options_.window_ms || (slow_ && work.steps >= options_.window_steps_when_slow);
  if (!over) return News::kNone;
  begin_ = now;
  factor_ = Judge(work, equals());
  if (factor_ < kClearlySlower) fit_well_ = load.fit;
  if (factor_ >= options_.slow_factor) {
    if (slow_ || ++slow_windows_ < options_.windows) return News::kNone;
    slow_ = true;
    return News::kSlow;
  }
  slow_windows_ = 0;
  if (!slow_) return News::kNone;
  slow_ = false;
  return News::kWellAgain;
}

}  // namespace baton::router
