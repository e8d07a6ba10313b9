#pragma once

#include <cstdint>

#include "kernels/cuda/launch/device.h"
#include "kernels/cuda/launch/shape.h"
#include "kernels/dtype.h"

namespace baton::kernels::cuda {

// out[t, :] = x[t, :] / sqrt(mean(x[t, :]^2) + epsilon) * weight, after x[t, :] += add[t, :] when
// there is something to add. All pointers are device memory, multiples of 16.
struct RmsNormArgs {
  float* x = nullptr;             // [T, H]; written only when `add` is there
  const float* add = nullptr;     // [T, H] or null
  const float* weight = nullptr;  // [H]
  void* out = nullptr;            // [T, H] of out_dtype, f32 or bf16
  DType out_dtype = DType::kF32;
  float epsilon = 0;
  int32_t num_tokens = 0;
  int32_t hidden = 0;  // H: a multiple of 8, at most 16384
};

Error Check(const RmsNormArgs& args);
// A row's threads depend on H alone, so its bits do not depend on the batch.
LaunchShape Choose(const RmsNormArgs& args, const DeviceTraits& device);
Error Launch(const RmsNormArgs& args, const LaunchShape& shape, Stream stream);

}  // namespace baton::kernels::cuda
