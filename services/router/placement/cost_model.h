#pragma once

#include <vector>

#include "services/router/placement/worker_state.h"

namespace baton::router {

// What one way of running a request costs, in milliseconds. `total_ms` is what is compared.
struct Estimate {
  double queue_ms = 0;     // work that is ahead of it
  double prefill_ms = 0;   // its own prompt, hand-over included
  double transfer_ms = 0;  // of prefill_ms: KV still under way after the last layer was computed
  double decode_ms = 0;    // its first tokens at the pace of the decode worker's batch
  double harm_ms = 0;      // by how much it delays others, summed over them
  // No slot or no blocks for it right now (a penalty); and what others will have to compute again
  // because their blocks in the prefix cache make room for it.
  double crowding_ms = 0;
  double ttft_ms = 0;  // queue + prefill
  double total_ms = 0;
};

// Every constant of the estimate. The rest is measured by the workers.
struct CostOptions {
  // Two messages and a wake-up on each side: what a remote prefill costs beyond computing and
  // sending.
  double handover_ms = 3.0;
  // Until a worker has handed over enough to measure.
  double transfer_bytes_per_ms = 1e6;
  uint64_t transfer_bytes_measured_min = 1 << 20;
  // Output tokens over which decode workers are compared.
  int32_t decode_tokens = 32;
  // A local prefill holds up the sequences that decode beside it, and those that arrive meanwhile:
  // count at least this many.
  double harmed_sequences_min = 1.0;
  double harm_weight = 1.0;
  // Tokens that come closer together than this are soon enough: only what is beyond it harms the
  // sequences that decode already. 0: any delay does.
  double itl_target_ms = 0;
  // Per sequence beyond the batch, and per block that is missing.
  double crowding_sequence_ms = 200.0;
  double crowding_block_ms = 20.0;
  // One more sequence costs a step at least this share of what each of those in it costs: a worker
  // whose steps were all alike cannot tell what is fixed in them, and nothing is free.
  double marginal_share_min = 0.1;
  // Candidates that are estimated to cost so much more than the best, as a share, are as good: no
  // estimate is that exact, and several routers should not all choose the same one.
  double near_share = 0.005;
  // A worker that has not measured its steps yet is taken for one of its equals that has; without
  // any, for this one (a small model on a CPU).
  engine::StepFit prior = {.base_ms = 2.0,
                           .per_prefill_token_ms = 0.2,
                           .per_decode_ms = 0.5,
                           .per_context_token_ms = 0.0001};
  int64_t samples_min = 8;
};

// Turns measured step times into estimates. A prefill worker that has not measured itself yet
// is taken to be as fast as the decode worker it would serve: else a pessimistic prior would keep
// work away from it for ever.
class CostModel {
 public:
  explicit CostModel(const CostOptions& options) : options_(options), prior_(options.prior) {}

  // What is supposed of workers that have not measured themselves: what the best measured one of
  // these says.
  void SupposeFrom(const std::vector<WorkerState>& workers);

  // Prompt computed on the decode worker itself.
  Estimate Local(const WorkerState& decode, int32_t prompt_tokens, int32_t choices) const;
  // Prompt computed by `prefill`, KV handed over to `decode`.
  Estimate Remote(const WorkerState& decode, const WorkerState& prefill, int32_t prompt_tokens,
                  int32_t choices) const;

  // Having the prompt computed elsewhere costs so much more that waiting so long for it here costs
  // the same; a little longer, since a trip is to save more than it takes.
  absl::Duration LocalWaitMax(const Estimate& local, double remote_total_ms) const;

  // Remote() in two halves, for many pairs of the same workers: what it costs `prefill`, whoever
  // it is for, and what it costs `decode`, whoever computes.
  struct PrefillHalf {
    double queue_ms = 0;
    double compute_ms = 0;
    double harm_ms = 0;  // to those that will wait behind it
    double bytes_per_ms = 0;
  };
  struct DecodeHalf {
    Estimate estimate;  // without queue, prefill and transfer
    double kv_bytes = 0;
    double join_ms = 0;
  };
  // Has it measured itself? If not, its half is taken with the decode worker's fit.
  bool Measured(const WorkerState& worker) const {
    return worker.load.engine.fit.samples >= options_.samples_min;
  }
  PrefillHalf PrefillHalfOf(const WorkerState& prefill, const WorkerState& decode,
                            int32_t prompt_tokens) const;
  DecodeHalf DecodeHalfOf(const WorkerState& decode, int32_t prompt_tokens, int32_t choices) const;
  Estimate Join(const DecodeHalf& decode, const PrefillHalf& prefill) const;

 private:
  const engine::StepFit& FitOf(const WorkerState& worker) const;
  double StepMs(const engine::StepFit& fit, int32_t decodes) const;
  // A step of its batch as it is, by its last report.
  double StepNowMs(const WorkerState& worker) const;
  // What the blocks that it would push out of the prefix cache are worth, in milliseconds.
  double EvictionMs(const WorkerState& worker, int32_t blocks_needed) const;
  // By how much a sequence of so many tokens makes a step of it longer.
  double MarginalMs(const WorkerState& worker, double tokens) const;
  double ComputeMs(const WorkerState& worker, const engine::StepFit& fit, int64_t tokens) const;
  double TransferBytesPerMs(const WorkerState& prefill) const;
  void AddDecodeSide(const WorkerState& decode, int32_t prompt_tokens, int32_t choices,
                     Estimate& estimate) const;

  const CostOptions options_;
  engine::StepFit prior_;
};

}  // namespace baton::router
