#pragma once

#include <cstdint>

#include "kernels/cuda/launch/device.h"
#include "kernels/cuda/launch/shape.h"

namespace baton::kernels::cuda {

// How one row of logits becomes one token: SampleArgs of kernels/sampling.h without log
// probabilities, as a device reads it. Its part of each list goes from its begin to the next row's.
struct alignas(64) SampleRow {
  int32_t row = 0;  // of the logits matrix; two samples may share one that neither changes
  int32_t top_k = 0;
  float temperature = 1;
  float top_p = 1;
  float min_p = 0;
  float repetition_penalty = 1;
  float presence_penalty = 0;
  float frequency_penalty = 0;
  uint64_t seed = 0;
  uint64_t draw = 0;
  uint32_t biases_begin = 0;
  uint32_t banned_begin = 0;
  uint32_t output_begin = 0;
  uint32_t prompt_begin = 0;
};

struct TokenBias {
  int32_t token;
  float bias;
};
struct TokenCount {
  int32_t token;
  int32_t count;
};

// The token of each row: the one that SampleRow() on the host gives. Pointers are device memory;
// sample_batch.h makes rows and lists. Lists may be null when they are empty.
struct SampleTokensArgs {
  float* logits = nullptr;            // [T, V]; overwritten by the penalised ones
  const SampleRow* rows = nullptr;    // [B + 1]; the last one only ends the lists
  const TokenBias* biases = nullptr;  // distinct tokens per row
  const int32_t* banned = nullptr;
  const TokenCount* output = nullptr;  // per row in rising order of token
  const int32_t* prompt = nullptr;     // distinct tokens per row
  int32_t vocabulary = 0;              // V; all tokens above lie in [0, V)
  int32_t batch = 0;                   // B
  int32_t* tokens = nullptr;           // [B]
};

Error Check(const SampleTokensArgs& args);
LaunchShape Choose(const SampleTokensArgs& args, const DeviceTraits& device);
Error Launch(const SampleTokensArgs& args, const LaunchShape& shape, Stream stream);

}  // namespace baton::kernels::cuda
