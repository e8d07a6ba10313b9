#include "services/router/placement/cost_model.h"

#include <algorithm>

namespace baton::router {
namespace {

void Sum(Estimate& estimate) {
  estimate.ttft_ms = estimate.queue_ms + estimate.prefill_ms;
  estimate.total_ms =
      estimate.ttft_ms + estimate.decode_ms + estimate.harm_ms + estimate.crowding_ms;
}

double NotNegative(double value) { return std::max(0.0, value); }

}  // namespace

const engine::StepFit& CostModel::FitOf(const WorkerState& worker) const {
  return Measured(worker) ? worker.load.engine.fit : prior_;
}

void CostModel::SupposeFrom(const std::vector<WorkerState>& workers) {
  const WorkerState* best = nullptr;
  for (const WorkerState& worker : workers) {
    if (!Measured(worker)) continue;
    if (best == nullptr || worker.load.engine.fit.samples > best->load.engine.fit.samples) {
      best = &worker;
    }
  }
  prior_ = best == nullptr ? options_.prior : best->load.engine.fit;
}

double CostModel::StepMs(const engine::StepFit& fit, int32_t decodes) const {
  return NotNegative(fit.base_ms) + NotNegative(fit.per_decode_ms) * decodes;
}

double CostModel::StepNowMs(const WorkerState& worker) const {
  const engine::LoadReport& load = worker.load.engine;
  const double context = static_cast<double>(load.blocks_active) * worker.profile.block_tokens;
  const engine::StepFit& fit = FitOf(worker);
  return StepMs(fit, load.running) + NotNegative(fit.per_context_token_ms) * context;
}

// A block is worth its computation, as often as blocks here have been found again so far.
double CostModel::EvictionMs(const WorkerState& worker, int32_t blocks_needed) const {
  const engine::LoadReport& load = worker.load.engine;
  const int32_t evicted = std::clamp(blocks_needed - load.blocks_free, 0, load.blocks_cached);
  const double prompts = static_cast<double>(load.cached_tokens + load.prompt_tokens);
  if (evicted == 0 || prompts <= 0) return 0;
  const double found_again = static_cast<double>(load.cached_tokens) / prompts;
  return found_again * evicted * worker.profile.block_tokens *
         NotNegative(FitOf(worker).per_prefill_token_ms);
}

double CostModel::MarginalMs(const WorkerState& worker, double tokens) const {
  const engine::StepFit& fit = FitOf(worker);
  const double measured =
      NotNegative(fit.per_decode_ms) + NotNegative(fit.per_context_token_ms) * tokens;
  const int32_t running = std::max(1, worker.load.engine.running);
  return std::max(measured, options_.marginal_share_min * StepNowMs(worker) / running);
}

// Prompt tokens in chunks of the step budget; every chunk is a step with all its fixed costs.
double CostModel::ComputeMs(const WorkerState& worker, const engine::StepFit& fit,
                            int64_t tokens) const {
  if (tokens <= 0) return 0;
  const int64_t budget = std::max(1, worker.profile.step_tokens_max);
  const int64_t steps = (tokens + budget - 1) / budget;
  return static_cast<double>(steps) * StepMs(fit, worker.load.engine.running) +
         NotNegative(fit.per_prefill_token_ms) * static_cast<double>(tokens);
}

double CostModel::TransferBytesPerMs(const WorkerState& prefill) const {
  const WorkerLoad& load = prefill.load;
  if (load.kv_bytes < options_.transfer_bytes_measured_min || load.kv_busy_seconds <= 0) {
    return options_.transfer_bytes_per_ms;
  }
  return static_cast<double>(load.kv_bytes) / (load.kv_busy_seconds * 1e3);
}

void CostModel::AddDecodeSide(const WorkerState& decode, int32_t prompt_tokens, int32_t choices,
                              Estimate& estimate) const {
  const int32_t batch_max = std::max(1, decode.profile.batch_sequences_max);
  const int32_t beside = std::min(decode.sequences() + choices, batch_max);
  const double marginal = MarginalMs(decode, prompt_tokens + 0.5 * options_.decode_tokens);
  const int32_t more = std::max(0, beside - decode.load.engine.running);
  estimate.decode_ms = options_.decode_tokens * (StepNowMs(decode) + marginal * more);
  // Everybody's step gets longer by this request's share of it.
  const double step = StepNowMs(decode);
  const double longer = NotNegative(step + marginal * choices - options_.itl_target_ms) -
                        NotNegative(step - options_.itl_target_ms);
  estimate.harm_ms += options_.harm_weight * options_.decode_tokens * longer *
                      std::min(decode.sequences(), batch_max);

  const int32_t too_many = decode.sequences() + choices - batch_max;
  const int32_t P = std::max(1, decode.profile.block_tokens);
  const int32_t needed = (decode.uncached_tokens(prompt_tokens) + P) / P + choices;
  const engine::LoadReport& load = decode.load.engine;
  const int32_t missing =
      load.blocks_total > 0 ? needed - load.blocks_free - load.blocks_cached : 0;
  estimate.crowding_ms = options_.crowding_sequence_ms * std::max(0, too_many) +
                         options_.crowding_block_ms * std::max(0, missing) +
                         EvictionMs(decode, needed);
  Sum(estimate);
}

Estimate CostModel::Local(const WorkerState& decode, int32_t prompt_tokens, int32_t choices) const {
  const int32_t tokens = decode.uncached_tokens(prompt_tokens);
  Estimate estimate;
  const double factor = decode.ttft_factor;
  estimate.queue_ms = factor * ComputeMs(decode, FitOf(decode), decode.queued_tokens());
  estimate.prefill_ms = factor * ComputeMs(decode, FitOf(decode), tokens);
  const double held_up =
      std::max<double>(decode.load.engine.running, options_.harmed_sequences_min);
  // What they have in hand until they are behind their target.
  const double slack =
      options_.decode_tokens * NotNegative(options_.itl_target_ms - StepNowMs(decode));
  const double stall = NotNegative(FitOf(decode).per_prefill_token_ms) * tokens;
  estimate.harm_ms = options_.harm_weight * held_up * NotNegative(stall - slack);
  AddDecodeSide(decode, prompt_tokens, choices, estimate);
  return estimate;
}

Estimate CostModel::Remote(const WorkerState& decode, const WorkerState& prefill,
                           int32_t prompt_tokens, int32_t choices) const {
  return Join(DecodeHalfOf(decode, prompt_tokens, choices),
              PrefillHalfOf(prefill, decode, prompt_tokens));
}

absl::Duration CostModel::LocalWaitMax(const Estimate& local, double remote_total_ms) const {
  return absl::Milliseconds(local.queue_ms + std::max(0.0, remote_total_ms - local.total_ms) +
                            options_.handover_ms);
}

CostModel::PrefillHalf CostModel::PrefillHalfOf(const WorkerState& prefill,
                                                const WorkerState& decode,
                                                int32_t prompt_tokens) const {
  const engine::StepFit& fit = FitOf(Measured(prefill) ? prefill : decode);
  const double factor = prefill.ttft_factor;
  const double compute_ms =
      factor * ComputeMs(prefill, fit, prefill.uncached_tokens(prompt_tokens));
  // Whoever comes while it waits and is computed is held up by it. In a queue that neither grows
  // nor shrinks, that is as many as there are now.
  return {.queue_ms = factor * ComputeMs(prefill, fit, prefill.queued_tokens()),
          .compute_ms = compute_ms,
          .harm_ms = options_.harm_weight * compute_ms * prefill.sequences(),
          .bytes_per_ms = TransferBytesPerMs(prefill)};
}

CostModel::DecodeHalf CostModel::DecodeHalfOf(const WorkerState& decode, int32_t prompt_tokens,
                                              int32_t choices) const {
  DecodeHalf half;
  AddDecodeSide(decode, prompt_tokens, choices, half.estimate);
  // Only what the decode worker misses travels.
  half.kv_bytes = static_cast<double>(decode.uncached_tokens(prompt_tokens)) *
                  static_cast<double>(decode.profile.kv_bytes_per_token);
  // It joins the decode worker's batch at the next step: on average half a step away.
  half.join_ms = 0.5 * StepMs(FitOf(decode), decode.load.engine.running);
  return half;
}

Estimate CostModel::Join(const DecodeHalf& decode, const PrefillHalf& prefill) const {
  Estimate estimate = decode.estimate;
  estimate.queue_ms = prefill.queue_ms;
  estimate.harm_ms += prefill.harm_ms;
  // Layer by layer while the next ones are computed: exposed is what the link is slower than the
  // computation, and about a tenth for the last layers.
  const double send_ms = decode.kv_bytes / prefill.bytes_per_ms;
  estimate.transfer_ms = std::max(send_ms - prefill.compute_ms, 0.1 * send_ms);
  estimate.prefill_ms =
      prefill.compute_ms + estimate.transfer_ms + options_.handover_ms + decode.join_ms;
  Sum(estimate);
  return estimate;
}

}  // namespace baton::router
