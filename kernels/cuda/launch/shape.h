#pragma once

#include <cstddef>
#include <cstdint>

namespace baton::kernels::cuda {

// The grid of one launch. Blocks are one-dimensional: whole warps of threads.
struct LaunchShape {
  uint32_t grid_x = 1;
  uint32_t grid_y = 1;  // at most 65535
  uint32_t grid_z = 1;  // at most 65535
  uint32_t threads = 0;
  size_t shared_bytes = 0;
};

}  // namespace baton::kernels::cuda
