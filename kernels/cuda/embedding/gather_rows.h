#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/cuda/launch/device.h"
#include "kernels/cuda/launch/shape.h"

namespace baton::kernels::cuda {

// out[i, :] = x[rows[i], :]. Device memory, multiples of 16.
struct GatherRowsArgs {
  const std::byte* x = nullptr;
  const int32_t* rows = nullptr;  // [num_rows], each a row of x: the caller's promise
  int32_t num_rows = 0;
  size_t row_bytes = 0;      // a multiple of 16
  std::byte* out = nullptr;  // [num_rows][row_bytes]
};

Error Check(const GatherRowsArgs& args);
LaunchShape Choose(const GatherRowsArgs& args, const DeviceTraits& device);
Error Launch(const GatherRowsArgs& args, const LaunchShape& shape, Stream stream);

}  // namespace baton::kernels::cuda
