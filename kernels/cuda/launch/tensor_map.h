#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/cuda/launch/device.h"

namespace baton::kernels::cuda {

// A matrix of 16-bit elements in device memory, of which boxes are copied to shared memory by the
// GPU's copy engine (TMA, from sm_90 on). A box's rows follow one another there, each 128, 64 or 32
// bytes long and swizzled by as much (primitives/swizzle.cuh); what lies outside the matrix is
// zero.
struct MatrixBoxes {
  const void* base = nullptr;  // a multiple of 16
  uint64_t rows = 0;
  uint64_t columns = 0;
  uint64_t row_bytes = 0;    // from one row to the next: a multiple of 16
  uint32_t box_rows = 0;     // at most 256
  uint32_t box_columns = 0;  // 64, 32 or 16
};

// The same as the engine reads it. Travels in a launch's arguments.
struct alignas(64) TensorMap {
  std::byte bytes[128];
};

// An error is the driver's. Costs about a microsecond and touches no device.
Error Encode(const MatrixBoxes& matrix, TensorMap* map);

}  // namespace baton::kernels::cuda
