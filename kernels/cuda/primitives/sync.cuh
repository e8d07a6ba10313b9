#pragma once

#include "kernels/cuda/primitives/platform.cuh"

namespace baton::kernels::cuda {

// What was written to memory before is seen by the block's (the warp's) other threads after. All of
// them come here. Shuffles and votes order nothing.
#if BATON_ON_DEVICE
BATON_DEVICE void SyncBlock() { __syncthreads(); }
BATON_DEVICE void SyncWarp() { __syncwarp(); }
#else
BATON_DEVICE void SyncBlock() { emulation::BlockBarrier(); }
BATON_DEVICE void SyncWarp() { emulation::WarpBarrier(); }
#endif

}  // namespace baton::kernels::cuda
