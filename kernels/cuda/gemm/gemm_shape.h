#pragma once

#include <cstddef>
#include <cstdint>

namespace baton::kernels::cuda {

// The tiles that gemm.cu is compiled with, so that choose.cc counts the same shared memory. A block
// of threads makes `tokens` x `outputs` results; a warp `warp_tokens` x `warp_outputs` of them.
struct GemmShape {
  uint32_t tokens;
  uint32_t outputs;
  uint32_t inputs;  // of K, per stage: a multiple of 64
  uint32_t stages;  // tiles of x and W on their way or in use
  uint32_t warp_tokens;
  uint32_t warp_outputs;

  constexpr uint32_t threads() const {
    return 32 * (tokens / warp_tokens) * (outputs / warp_outputs);
  }
  constexpr uint32_t chunks() const { return inputs / 8; }  // 16 bytes each, per row
  constexpr uint32_t stage_elements() const { return (tokens + outputs) * inputs; }
  constexpr size_t SharedBytes() const { return size_t{stages} * stage_elements() * 2; }
};

// Few tokens: bound by reading W, so many blocks with much of it on its way.
constexpr GemmShape kGemmNarrow = {16, 32, 128, 4, 16, 16};
constexpr GemmShape kGemmMiddle = {64, 64, 64, 4, 32, 32};
constexpr GemmShape kGemmWide = {128, 128, 64, 3, 32, 64};

// The one on warpgroups: two of them have 64 tokens each, a third copies.
struct GemmWarpgroupShape {
  static constexpr uint32_t kTokens = 128;
  static constexpr uint32_t kOutputs = 128;
  static constexpr uint32_t kInputs = 64;  // of K, per stage: one swizzled row
  static constexpr uint32_t kStages = 4;
  static constexpr uint32_t kConsumers = 2;
  static constexpr uint32_t kThreads = 128 * (kConsumers + 1);
  static constexpr uint32_t kStageElements = (kTokens + kOutputs) * kInputs;
  // What aligns the ring, the ring, and two barriers per stage.
  static constexpr size_t kSharedBytes = 1024 + size_t{kStages} * (kStageElements * 2 + 16);
};

// The f32 kernel's: four outputs of one token per thread.
struct GemmF32Shape {
  static constexpr uint32_t kThreads = 128;
  static constexpr uint32_t kTokens = 16;
  static constexpr uint32_t kOutputs = 32;
  static constexpr uint32_t kInputs = 32;           // of K at a time
  static constexpr uint32_t kStride = kInputs + 4;  // rows begin in different banks
  static constexpr size_t kSharedBytes = size_t{kTokens + kOutputs} * kStride * 4;
};

}  // namespace baton::kernels::cuda
