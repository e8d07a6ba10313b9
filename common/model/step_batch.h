#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "kernels/sampling.h"

namespace baton::model {

// One sequence's part of a step: `query_tokens` new tokens at the end of its context.
struct StepSequence {
  int32_t query_tokens = 0;
  int32_t context_tokens = 0;            // after this step, the new tokens included
  std::span<const int32_t> block_table;  // KV blocks in order, >= ceil(context_tokens / P) of them
};

// A token of a prompt whose log-probability is asked for.
struct StepScore {
  int32_t row = 0;           // index into the batch's tokens: the one before it
  int32_t token = 0;         // the token itself
  int32_t num_logprobs = 0;  // so many of the likeliest besides
};

// Stands for the token that samples[sample] of the step begun last is going to pick: the host does
// not know it yet, the device will.
constexpr int32_t TokenToCome(int32_t sample) { return -1 - sample; }

// One pass of the model over a batch. Built by the engine, borrowed by the runner for the call.
struct StepBatch {
  std::vector<int32_t> tokens;               // [T] new tokens, sequence after sequence; some may be
                                             // TokenToCome() where a step is begun, not executed
  std::vector<StepSequence> sequences;       // [B] in the order of `tokens`
  std::vector<int32_t> logits_rows;          // [R] indices into `tokens` whose logits are wanted
  std::vector<kernels::SampleArgs> samples;  // one per token to pick; `row` indexes logits_rows
  // Any number: their logits are computed a slice at a time and not kept, so that a whole chunk of
  // a prompt costs no more memory than a batch of decodes.
  std::vector<StepScore> scores;
  // Called on the calling thread when the K and V of all `tokens` are written and readable for
  // layer i, i = 0, 1, … in order. May be null. What makes layer-by-layer hand-over possible.
  std::function<void(int32_t layer)> on_layer;
};

struct StepResult {
  std::vector<kernels::SampledToken> sampled;  // [samples.size()]
  std::vector<kernels::SampledToken> scored;   // [scores.size()]
};

}  // namespace baton::model
