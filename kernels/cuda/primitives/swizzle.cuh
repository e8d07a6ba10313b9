#pragma once

#include "kernels/cuda/primitives/platform.cuh"

namespace baton::kernels::cuda {

// Where 16-byte chunk `chunk` of row `row` lies in shared memory, in chunks, for rows of kChunks
// chunks. Rows follow one another; inside a row chunks change places so that the same chunk of
// eight rows in a row lies in eight different sets of banks: eight lanes that read down a column
// are served at once. kChunks is a multiple of 4, or 6.
template <uint32_t kChunks>
BATON_DEVICE constexpr uint32_t Swizzled(uint32_t row, uint32_t chunk) {
  static_assert(kChunks % 4 == 0 || kChunks == 6);
  const uint32_t turn = kChunks % 8 == 0 ? row & 7 : kChunks == 6 ? (row >> 2) & 1 : (row >> 1) & 3;
  return row * kChunks + (chunk ^ turn);
}

// Where the byte at this address of shared memory lies when rows of row_bytes (128, 64 or 32) are
// swizzled as the copy engine and the warpgroups' products do it: a pattern of addresses, not of
// rows.
BATON_DEVICE constexpr uint32_t SwizzledAddress(uint32_t address, uint32_t row_bytes) {
  return address ^ ((address >> 7 & (row_bytes / 16 - 1)) << 4);
}

}  // namespace baton::kernels::cuda
