#pragma once

#include <cstdint>

#include "kernels/cuda/launch/device.h"
#include "kernels/cuda/launch/shape.h"
#include "kernels/dtype.h"

namespace baton::kernels::cuda {

// out = x W^T (+ bias), stored or added. Device memory, multiples of 16.
struct GemmArgs {
  const void* x = nullptr;      // [T, K] of dtype
  const void* w = nullptr;      // [N, K] of dtype
  DType dtype = DType::kBF16;   // bf16: on tensor cores; f32: plain arithmetic
  const float* bias = nullptr;  // [N] or null
  float* out = nullptr;         // [T, N]
  bool is_added = false;        // out += y, else out = y
  int32_t num_tokens = 0;       // T
  int32_t num_outputs = 0;      // N
  int32_t num_inputs = 0;       // K: a multiple of 8
};

// Whatever the tile, an output is summed in the same order: in steps of 16 along K, rising. So the
// choice may depend on T, and a row's bits do not. kWarpgroup is an exception: hardware may add
// inside a step in another order there.
enum class GemmTile : uint8_t { kNarrow, kMiddle, kWide, kF32, kWarpgroup };

// Counts changes of these kernels' speed: times that were measured before one mean nothing.
constexpr int kOwnGemmVersion = 1;

struct GemmPlan {
  GemmTile tile = GemmTile::kNarrow;
  LaunchShape shape;
};

Error Check(const GemmArgs& args);
GemmPlan Choose(const GemmArgs& args, const DeviceTraits& device);
Error Launch(const GemmArgs& args, const GemmPlan& plan, Stream stream);
// gemm_warpgroup.cu's part of it.
Error LaunchOnWarpgroups(const GemmArgs& args, const LaunchShape& shape, Stream stream);

}  // namespace baton::kernels::cuda
