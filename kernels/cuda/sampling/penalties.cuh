#pragma once

#include "kernels/cuda/primitives/math.cuh"
#include "kernels/cuda/primitives/memory.cuh"
#include "kernels/cuda/primitives/sync.cuh"
#include "kernels/cuda/sampling/sample_tokens.h"

namespace baton::kernels::cuda {

// Steps 1 to 3 of kernels/sampling.h on one row's logits, in place, by a block of threads; the same
// bits as on the host. Each step takes a list; a token comes once in it, so threads do not meet.
class Penalties {
 public:
  BATON_DEVICE Penalties(const SampleTokensArgs& args, const SampleRow& row, const SampleRow& next,
                         const Global<float>& logits)
      : row_(row),
        next_(next),
        biases_(args.biases),
        banned_(args.banned),
        output_(args.output),
        prompt_(args.prompt),
        logits_(logits) {}

  BATON_DEVICE void Apply() const {
    for (uint32_t i = Begin(row_.biases_begin); i < next_.biases_begin; i += BlockThreads()) {
      const TokenBias entry = biases_[i];
      logits_[Index(entry.token)] = RoundedSum(logits_[Index(entry.token)], entry.bias);
    }
    SyncBlock();
    for (uint32_t i = Begin(row_.banned_begin); i < next_.banned_begin; i += BlockThreads()) {
      logits_[Index(banned_[i])] = kMinusInfinity;
    }
    SyncBlock();
    if (row_.repetition_penalty != 1) ApplyRepetition();
    SyncBlock();
    if (row_.frequency_penalty != 0 || row_.presence_penalty != 0) ApplyCounts();
    SyncBlock();
  }

 private:
  BATON_DEVICE static uint32_t Begin(uint32_t first) { return first + ThreadIndex(); }
  BATON_DEVICE static uint32_t Index(int32_t token) { return uint32_t(token); }

  // A token of both prompt and output is penalised once.
  BATON_DEVICE void ApplyRepetition() const {
    for (uint32_t i = Begin(row_.output_begin); i < next_.output_begin; i += BlockThreads()) {
      const TokenCount entry = output_[i];
      Repeat(entry.token);
    }
    for (uint32_t i = Begin(row_.prompt_begin); i < next_.prompt_begin; i += BlockThreads()) {
      const int32_t token = prompt_[i];
      if (!IsInOutput(token)) Repeat(token);
    }
  }
  BATON_DEVICE void Repeat(int32_t token) const {
    const float logit = logits_[Index(token)], penalty = row_.repetition_penalty;
    logits_[Index(token)] =
        logit > 0 ? RoundedQuotient(logit, penalty) : RoundedProduct(logit, penalty);
  }
  BATON_DEVICE bool IsInOutput(int32_t token) const {
    uint32_t low = row_.output_begin, high = next_.output_begin;
    while (low < high) {
      const uint32_t middle = (low + high) / 2;
      const TokenCount entry = output_[middle];
      if (entry.token == token) return true;
      if (entry.token < token) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    return false;
  }

  BATON_DEVICE void ApplyCounts() const {
    for (uint32_t i = Begin(row_.output_begin); i < next_.output_begin; i += BlockThreads()) {
      const TokenCount entry = output_[i];
      if (entry.count <= 0) continue;
      const float penalty = RoundedSum(RoundedProduct(row_.frequency_penalty, float(entry.count)),
                                       row_.presence_penalty);
      logits_[Index(entry.token)] = RoundedSum(logits_[Index(entry.token)], -penalty);
    }
  }

  const SampleRow& row_;
  const SampleRow& next_;
  Global<const TokenBias> biases_;
  Global<const int32_t> banned_;
  Global<const TokenCount> output_;
  Global<const int32_t> prompt_;
  Global<float> logits_;
};

}  // namespace baton::kernels::cuda
