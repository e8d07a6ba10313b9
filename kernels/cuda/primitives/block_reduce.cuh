#pragma once

#include "kernels/cuda/primitives/memory.cuh"
#include "kernels/cuda/primitives/sync.cuh"
#include "kernels/cuda/primitives/warp.cuh"

namespace baton::kernels::cuda {

// The sum over the block, the same bits in every thread: warps by their tree, then warp by warp.
// `scratch` holds one float per warp and is free again after the block's next barrier.
BATON_DEVICE float BlockSum(float value, const Shared<float>& scratch) {
  value = WarpSum(value);
  if (LaneIndex() == 0) scratch[WarpIndex()] = value;
  SyncBlock();
  float sum = 0;
  for (uint32_t warp = 0; warp < BlockThreads() / kWarpLanes; ++warp) {
    sum += float(scratch[warp]);
  }
  return sum;
}

}  // namespace baton::kernels::cuda
