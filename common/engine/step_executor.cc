#include "common/engine/step_executor.h"

#include <cmath>
#include <utility>

#include "common/base/check.h"

namespace baton::engine {
namespace {

// The fit is trusted for a choice once it has seen this many steps.
constexpr int64_t kSamplesToTrust = 16;

void AppendScores(const StepPlan::Part& part, int32_t first_row, model::StepBatch& batch) {
  const Sequence& sequence = *part.sequence;
  const Sequence::Scores scores = sequence.ScoresOf(part.query_tokens);
  CHECK(scores.first == scores.last || scores.first > sequence.num_computed,
        "prompt token {} is to be scored, {} are computed", scores.first, sequence.num_computed);
  for (int32_t i = scores.first; i < scores.last; ++i) {
    batch.scores.push_back({.row = first_row + i - 1 - sequence.num_computed,
                            .token = sequence.tokens[i],
                            .num_logprobs = *sequence.spec.sampling.prompt_logprobs});
  }
}

void AppendPart(const StepPlan::Part& part, model::StepBatch& batch) {
  const Sequence& sequence = *part.sequence;
  AppendScores(part, static_cast<int32_t>(batch.tokens.size()), batch);
  const auto first = sequence.tokens.begin() + sequence.num_computed;
  batch.tokens.insert(batch.tokens.end(), first, first + part.query_tokens);
  batch.sequences.push_back({.query_tokens = part.query_tokens,
                             .context_tokens = sequence.num_computed + part.query_tokens,
                             .block_table = sequence.blocks.ids()});
  if (part.query_tokens < sequence.pending_tokens() || !sequence.sampling.generates()) return;
  const int32_t row = static_cast<int32_t>(batch.logits_rows.size());
  batch.logits_rows.push_back(static_cast<int32_t>(batch.tokens.size()) - 1);
  batch.samples.push_back(sequence.sampling.ArgsFor(row));
}

}  // namespace

StepExecutor::StepExecutor(model::ModelRunner& runner, SwapStore* swap, const Clock& clock,
                           int32_t step_tokens_max)
    : runner_(runner), swap_(swap), clock_(clock), step_tokens_max_(step_tokens_max) {}

void StepExecutor::Copy(std::span<const BlockCopy> copies) {
  last_copy_time_ = absl::ZeroDuration();
  if (copies.empty()) return;
  CHECK(swap_ != nullptr, "{} blocks to swap and nowhere to put them", copies.size());
  const absl::Duration start = clock_.Monotonic();
  swap_->Copy(copies);
  last_copy_time_ = clock_.Monotonic() - start;
  const double seconds = absl::ToDoubleSeconds(last_copy_time_);
  if (seconds <= 0) return;
  const double measured = double(copies.size()) * double(swap_->block_bytes()) / seconds;
  copy_bytes_per_second_ += 0.25 * (measured - copy_bytes_per_second_);
}

void StepExecutor::Learn(const StepPlan& plan) {
  fitter_.Add(plan.prefill_tokens, plan.decodes, plan.context_tokens, last_execute_time_);
  if (plan.prefill_tokens > 0 && plan.decodes > 0) return;
  StepWork& work = plan.decodes > 0 ? decode_work_ : prefill_work_;
  ++work.steps;
  work.tokens += plan.prefill_tokens + plan.decodes;
  work.context_tokens += plan.context_tokens;
  work.ms += absl::ToDoubleMilliseconds(last_execute_time_);
}

StepExecutor::Tokens StepExecutor::Execute(const StepPlan& plan,
                                           std::function<void(int32_t layer)> on_layer) {
  batch_.tokens.clear();
  batch_.sequences.clear();
  batch_.logits_rows.clear();
  batch_.samples.clear();
  batch_.scores.clear();
  for (const StepPlan::Part& part : plan.parts) AppendPart(part, batch_);
  batch_.on_layer = std::move(on_layer);

  const absl::Duration start = clock_.Monotonic();
  model::StepResult result = runner_.Execute(batch_);
  last_execute_time_ = clock_.Monotonic() - start;
  // The head over whole chunks would teach the fit that prompts are dear.
  if (batch_.scores.empty()) Learn(plan);

  CHECK(result.sampled.size() == batch_.samples.size(), "{} tokens sampled of {}",
        result.sampled.size(), batch_.samples.size());
  CHECK(result.scored.size() == batch_.scores.size(), "{} tokens scored of {}",
        result.scored.size(), batch_.scores.size());
  Tokens tokens;
  tokens.sampled.reserve(result.sampled.size());
  for (size_t i = 0; i < result.sampled.size(); ++i) {
    tokens.sampled.push_back(ToGeneratedToken(result.sampled[i], batch_.samples[i].num_logprobs));
  }
  tokens.scored.reserve(result.scored.size());
  for (size_t i = 0; i < result.scored.size(); ++i) {
    tokens.scored.push_back(ToGeneratedToken(result.scored[i], batch_.scores[i].num_logprobs));
  }
  return tokens;
}

bool StepExecutor::SwapIsCheaper(const Sequence& sequence) const {
  if (swap_ == nullptr) return false;
  const StepFit fit = fitter_.Fit();
  if (fit.samples < kSamplesToTrust) return false;
  const double tokens = sequence.num_computed;
  const double chunks = std::ceil(tokens / step_tokens_max_);
  // Each chunk reads the context up to itself: half of it on average. Base time is not counted: the
  // chunks ride along with steps that happen anyway.
  const double recompute_ms =
      fit.per_prefill_token_ms * tokens + fit.per_context_token_ms * tokens * (chunks + 1) / 2;
  const double bytes = double(sequence.blocks.num_blocks()) * double(swap_->block_bytes());
  const double swap_ms = 2e3 * bytes / copy_bytes_per_second_;  // out and in
  return swap_ms < recompute_ms;
}

absl::Duration StepExecutor::PrefillTime(int64_t tokens) const {
  const StepFit fit = fitter_.Fit();
  if (fit.samples < kSamplesToTrust) return absl::ZeroDuration();
  const double steps = std::ceil(static_cast<double>(tokens) / step_tokens_max_);
  return absl::Milliseconds(fit.base_ms * steps +
                            fit.per_prefill_token_ms * static_cast<double>(tokens));
}

}  // namespace baton::engine
