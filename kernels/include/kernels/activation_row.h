#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernels/dtype.h"
#include "kernels/quantized_row.h"

// One token's activations before they meet a weight, as the buffers behind Backend's `void*` have
// them: K elements of f32 or bf16 and nothing else, or a quantized row of int8,
//
//   [K] of int8, zeros up to a multiple of four bytes, the row's scale in f32
//
// so that a scale goes wherever its row goes. A row depends on its own token alone.
namespace baton::kernels {

// Where the scale of a row of `width` int8 begins.
constexpr size_t Int8ScaleOffset(int64_t width) { return size_t(width + 3) / 4 * 4; }

constexpr size_t ActivationRowBytes(DType dtype, int64_t width) {
  return dtype == DType::kInt8 ? Int8ScaleOffset(width) + sizeof(float)
                               : size_t(width) * BytesOf(dtype);
}

// Of a row of int8.
inline float ScaleOf(const std::byte* row, int64_t width) {
  float scale;
  std::memcpy(&scale, row + Int8ScaleOffset(width), sizeof scale);
  return scale;
}

// Rounds `width` elements to a row of int8, plainly.
inline void StoreInt8Row(const float* x, int32_t width, std::byte* row) {
  std::memset(row, 0, Int8ScaleOffset(width));
  const float scale = QuantizeRow(x, width, DType::kInt8, row);
  std::memcpy(row + Int8ScaleOffset(width), &scale, sizeof scale);
}

}  // namespace baton::kernels
