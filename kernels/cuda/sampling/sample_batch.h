#pragma once

#include <span>
#include <vector>

#include "kernels/cuda/sampling/sample_tokens.h"
#include "kernels/sampling.h"

namespace baton::kernels::cuda {

// Rows and lists of SampleTokensArgs on the host, ready to be copied to a device.
struct SampleBatch {
  std::vector<SampleRow> rows;  // one more than there are samples
  std::vector<TokenBias> biases;
  std::vector<int32_t> banned;
  std::vector<TokenCount> output;
  std::vector<int32_t> prompt;
};

// False for what the device does not do: tokens that are given, log probabilities.
bool IsForDevice(const SampleArgs& args);

// Every sample is for the device, and its tokens lie in [0, vocabulary).
SampleBatch BatchOf(std::span<const SampleArgs> samples, int32_t vocabulary);

}  // namespace baton::kernels::cuda
