#include "common/engine/step_executor.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "common/base/check.h"

namespace baton::engine {
namespace {

// The fit is trusted for a choice once it has seen this many steps.
constexpr int64_t kSamplesToTrust = 16;
// A step takes at least so many tokens of prompts, however slow its decodes are.
constexpr double kPromptTokensMin = 16;

void AppendScores(const StepPlan::Part& part, int32_t first_row, model::StepBatch& batch) {
  const Sequence& sequence = *part.sequence;
  const Sequence::Scores scores = sequence.ScoresOf(part.query_tokens, sequence.num_computed);
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
  if (!part.picks) return;
  const int32_t row = static_cast<int32_t>(batch.logits_rows.size());
  batch.logits_rows.push_back(static_cast<int32_t>(batch.tokens.size()) - 1);
  batch.samples.push_back(sequence.sampling.ArgsFor(row, sequence.last_token_to_come() ? 1 : 0));
}

std::vector<GeneratedToken> ToGeneratedTokens(std::span<const kernels::SampledToken> sampled,
                                              std::span<const int32_t> num_logprobs) {
  CHECK(sampled.size() == num_logprobs.size(), "{} tokens of {}", sampled.size(),
        num_logprobs.size());
  std::vector<GeneratedToken> tokens;
  tokens.reserve(sampled.size());
  for (size_t i = 0; i < sampled.size(); ++i) {
    tokens.push_back(ToGeneratedToken(sampled[i], num_logprobs[i]));
  }
  return tokens;
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

void StepExecutor::Learn(const Begun& step) {
  // The head over whole chunks would teach the fit that prompts are dear.
  if (!step.scored_logprobs.empty()) return;
  fitter_.Add(step.prefill_tokens, step.decodes, step.context_tokens, last_execute_time_);
  if (step.prefill_tokens > 0 && step.decodes > 0) return;
  StepWork& work = step.decodes > 0 ? decode_work_ : prefill_work_;
  ++work.steps;
  work.tokens += step.prefill_tokens + step.decodes;
  work.context_tokens += step.context_tokens;
  work.ms += absl::ToDoubleMilliseconds(last_execute_time_);
}

void StepExecutor::Fill(const StepPlan& plan, std::function<void(int32_t layer)> on_layer) {
  batch_.tokens.clear();
  batch_.sequences.clear();
  batch_.logits_rows.clear();
  batch_.samples.clear();
  batch_.scores.clear();
  for (const StepPlan::Part& part : plan.parts) AppendPart(part, batch_);
  batch_.on_layer = std::move(on_layer);
}

void StepExecutor::Begin(const StepPlan& plan, std::function<void(int32_t layer)> on_layer) {
  Fill(plan, std::move(on_layer));
  Begun step = {.at = clock_.Monotonic(),
                .prefill_tokens = plan.prefill_tokens,
                .decodes = plan.decodes,
                .context_tokens = plan.context_tokens};
  for (const kernels::SampleArgs& sample : batch_.samples) {
    step.sampled_logprobs.push_back(sample.num_logprobs);
  }
  for (const model::StepScore& score : batch_.scores) {
    step.scored_logprobs.push_back(score.num_logprobs);
  }
  if (runner_.looks_ahead()) {
    runner_.Begin(batch_);
  } else {
    step.result = runner_.Execute(batch_);
    step.over = clock_.Monotonic();
    step.is_over = true;
  }
  begun_.push_back(std::move(step));
}

StepExecutor::Tokens StepExecutor::Finish() {
  CHECK(!begun_.empty(), "no step was begun");
  Begun step = std::move(begun_.front());
  begun_.pop_front();
  if (!step.is_over) {
    step.result = runner_.Finish();
    step.over = clock_.Monotonic();
  }
  last_execute_time_ = step.over - std::max(step.at, last_over_);
  last_over_ = step.over;
  Learn(step);
  return {.sampled = ToGeneratedTokens(step.result.sampled, step.sampled_logprobs),
          .scored = ToGeneratedTokens(step.result.scored, step.scored_logprobs)};
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

int32_t StepExecutor::PromptTokensWithin(absl::Duration target, const StepPlan& plan) const {
  const StepFit fit = fitter_.Fit();
  // A token of a prompt is computed, and read by those behind it.
  const double per_token_ms = fit.per_prefill_token_ms + fit.per_context_token_ms;
  if (fit.samples < kSamplesToTrust || per_token_ms <= 0) return step_tokens_max_;
  const double left_ms = absl::ToDoubleMilliseconds(target) - fit.base_ms -
                         fit.per_decode_ms * plan.decodes -
                         fit.per_context_token_ms * static_cast<double>(plan.context_tokens);
  return static_cast<int32_t>(
      std::clamp<double>(left_ms / per_token_ms, kPromptTokensMin, step_tokens_max_));
}

}  // namespace baton::engine
