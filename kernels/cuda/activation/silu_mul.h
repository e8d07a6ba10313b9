#pragma once

#include <cstdint>

#include "kernels/cuda/launch/device.h"
#include "kernels/cuda/launch/shape.h"
#include "kernels/dtype.h"

namespace baton::kernels::cuda {

// out[t, f] = silu(gate_up[t, f]) * gate_up[t, F + f]. Device memory, multiples of 16.
struct SiluMulArgs {
  const float* gate_up = nullptr;  // [T, 2 F]
  void* out = nullptr;             // [T, F] of out_dtype, f32 or bf16
  DType out_dtype = DType::kF32;
  int32_t num_tokens = 0;
  int32_t intermediate = 0;  // F: a multiple of 8
};

Error Check(const SiluMulArgs& args);
LaunchShape Choose(const SiluMulArgs& args, const DeviceTraits& device);
Error Launch(const SiluMulArgs& args, const LaunchShape& shape, Stream stream);

}  // namespace baton::kernels::cuda
