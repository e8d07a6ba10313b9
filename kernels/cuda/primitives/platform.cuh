#pragma once

#include <cstddef>
#include <cstdint>

// The one place that asks which compiler reads this. nvcc compiles kernels for GPUs; any other
// compiler compiles the same source for the emulation (kernels/cuda/emulation). Each primitive in
// this folder is a wrapper with a body for either; kernels use nothing else of CUDA.
#if defined(__CUDACC__)
#define BATON_ON_DEVICE 1
#define BATON_DEVICE __device__ __forceinline__
// One block at a time is enough: asked for nothing, the compiler saves registers for a second or
// third one and spills a few bytes for it.
#define BATON_KERNEL(max_threads) __global__ __launch_bounds__(max_threads, 1)
// A kernel's argument that stays where the launch put it, so that the copy engine may read it
// there.
#define BATON_CONSTANT_ARGUMENT const __grid_constant__
#define BATON_UNROLL _Pragma("unroll")
#define BATON_PRAGMA(text) _Pragma(#text)
#define BATON_UNROLL_BY(times) BATON_PRAGMA(unroll(times))
#else
#define BATON_ON_DEVICE 0
#define BATON_DEVICE inline
#define BATON_KERNEL(max_threads)
#define BATON_CONSTANT_ARGUMENT const
#define BATON_UNROLL
#define BATON_UNROLL_BY(times)
#include "kernels/cuda/emulation/grid.h"
#endif

namespace baton::kernels::cuda {

#if BATON_ON_DEVICE
BATON_DEVICE uint32_t ThreadIndex() { return threadIdx.x; }
BATON_DEVICE uint32_t BlockThreads() { return blockDim.x; }
BATON_DEVICE uint32_t BlockX() { return blockIdx.x; }
BATON_DEVICE uint32_t BlockY() { return blockIdx.y; }
BATON_DEVICE uint32_t BlockZ() { return blockIdx.z; }
BATON_DEVICE uint32_t GridX() { return gridDim.x; }
#else
BATON_DEVICE uint32_t ThreadIndex() { return emulation::Here().thread; }
BATON_DEVICE uint32_t BlockThreads() { return emulation::Here().shape->threads; }
BATON_DEVICE uint32_t BlockX() { return emulation::Here().block_x; }
BATON_DEVICE uint32_t BlockY() { return emulation::Here().block_y; }
BATON_DEVICE uint32_t BlockZ() { return emulation::Here().block_z; }
BATON_DEVICE uint32_t GridX() { return emulation::Here().shape->grid_x; }
#endif

constexpr uint32_t kWarpLanes = 32;
BATON_DEVICE uint32_t LaneIndex() { return ThreadIndex() % kWarpLanes; }
BATON_DEVICE uint32_t WarpIndex() { return ThreadIndex() / kWarpLanes; }

// Sixteen bytes: what one load or store moves at most.
struct alignas(16) Vec16 {
  uint32_t words[4];
};

}  // namespace baton::kernels::cuda
