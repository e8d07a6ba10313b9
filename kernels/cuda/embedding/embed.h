#pragma once

#include <cstdint>

#include "kernels/cuda/launch/device.h"
#include "kernels/cuda/launch/shape.h"
#include "kernels/dtype.h"

namespace baton::kernels::cuda {

// out[t, :] = table[ids[t], :] as f32; an id below 0 is a place in `sampled`. Device memory,
// multiples of 16.
struct EmbedArgs {
  const void* table = nullptr;  // [V, H] of table_dtype, f32 or bf16
  DType table_dtype = DType::kF32;
  const int32_t* ids = nullptr;      // [T], each in [0, V), or -1 - i for sampled[i]: the caller's
                                     // promise
  const int32_t* sampled = nullptr;  // each in [0, V); null: no id is below 0
  float* out = nullptr;              // [T, H]
  int32_t num_tokens = 0;
  int32_t hidden = 0;  // H: a multiple of 8
};

Error Check(const EmbedArgs& args);
LaunchShape Choose(const EmbedArgs& args, const DeviceTraits& device);
Error Launch(const EmbedArgs& args, const LaunchShape& shape, Stream stream);

}  // namespace baton::kernels::cuda
