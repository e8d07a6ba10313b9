#pragma once

#include "kernels/cuda/launch/device.h"
#include "kernels/cuda/launch/shape.h"
#include "kernels/cuda/primitives/platform.cuh"

#if BATON_ON_DEVICE
#include <cuda_runtime.h>
#else
#include "kernels/cuda/emulation/streams.h"
#endif

namespace baton::kernels::cuda {

// Enqueues one launch; `args` travel by value. An error is the CUDA runtime's, with the kernel's
// name. The emulation has run the whole grid when this returns, if it records no graph.
#if BATON_ON_DEVICE
template <typename Args>
Error LaunchKernel(const char* name, void (*kernel)(Args), const LaunchShape& shape, Stream stream,
                   const Args& args) {
  constexpr size_t kSharedBytesWithoutAsking = 48 << 10;
  cudaError_t status = cudaSuccess;
  if (shape.shared_bytes > kSharedBytesWithoutAsking) {
    status =
        cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel),
                             cudaFuncAttributeMaxDynamicSharedMemorySize, int(shape.shared_bytes));
  }
  if (status == cudaSuccess) {
    kernel<<<dim3(shape.grid_x, shape.grid_y, shape.grid_z), shape.threads, shape.shared_bytes,
             static_cast<cudaStream_t>(stream.handle)>>>(args);
    status = cudaGetLastError();
  }
  if (status == cudaSuccess) return std::nullopt;
  return std::string(name) + ": " + cudaGetErrorString(status);
}
#else
template <typename Args>
Error LaunchKernel(const char* name, void (*kernel)(Args), const LaunchShape& shape, Stream stream,
                   const Args& args) {
  if (Error error = emulation::Finish(stream.handle)) return error;
  emulation::RunGrid(name, shape, [kernel, args] { kernel(args); });
  return std::nullopt;
}
#endif

}  // namespace baton::kernels::cuda
