#pragma once

#include <cmath>
#include <cstdint>

#include "kernels/backend.h"
#include "kernels/quantized_row.h"

// What weights are rounded to, the same in every backend: one output at a time, from rows of a
// checkpoint. What a checkpoint has quantized in the same way already stays as it is, to the bit.
namespace baton::kernels {

// In the middle of int4's 16 values: where it stands for zero in weights that we round.
constexpr int kInt4Zero = 8;

inline float ElementOf(const HostMatrix& matrix, int64_t row, int64_t col) {
  const float element = LoadElement(matrix.data, matrix.dtype, row * matrix.cols + col);
  if (!matrix.is_quantized()) return element;
  const int64_t at = row * matrix.groups() + col / matrix.group;
  const float zero = matrix.zeros == nullptr ? 0 : float(matrix.zeros[at]);
  return (element - zero) * matrix.scales[at];
}

// `row` as int8 [cols]; returns its scale. `values` [cols] is scratch memory.
inline float Int8Weight(const HostMatrix& matrix, int64_t row, float* values, std::byte* out) {
  if (matrix.is_quantized() && matrix.groups() == 1 && matrix.zeros == nullptr) {
    std::memcpy(out, matrix.data + row * matrix.cols, size_t(matrix.cols));
    return matrix.scales[row];
  }
  for (int64_t k = 0; k < matrix.cols; ++k) values[k] = ElementOf(matrix, row, k);
  return QuantizeRow(values, int32_t(matrix.cols), DType::kInt8, out);
}

// Writes values 0 to 15 that are worth (value - kInt4Zero) * the scale that it returns. The largest
// element becomes -8, or is cut off a little where that serves the others: of four scales the one
// with the least squared error. What is no number shows as a scale of NaN, as in QuantizeRow().
inline float QuantizeInt4(const float* x, int32_t n, uint8_t* out) {
  float largest = 0;
  for (int32_t i = 0; i < n; ++i) {
    if (!(std::abs(x[i]) <= std::abs(largest))) largest = x[i];
  }
  for (int32_t i = 0; i < n; ++i) out[i] = kInt4Zero;
  if (!std::isfinite(largest)) return __builtin_nanf("");
  if (std::abs(largest) < kQuantizedSmallest) return 0;
  const auto value = [](float scaled) {
    const float whole = float(Int8FromF32(scaled));
    return whole < -8 ? -8.0f : whole > 7 ? 7.0f : whole;
  };
  float best = 0, least = INFINITY;
  for (const float cut : {7.5f, 8.0f, 8.5f, 9.0f}) {
    const float scale = largest / -cut, inverse = 1 / scale;
    float error = 0;
    for (int32_t i = 0; i < n; ++i) {
      const float off = value(x[i] * inverse) * scale - x[i];
      error += off * off;
    }
    if (error < least) best = scale, least = error;
  }
  if (best == 0) best = largest / -8;  // the squares are too large for f32
  for (int32_t i = 0; i < n; ++i) out[i] = uint8_t(int(value(x[i] * (1 / best))) + kInt4Zero);
  return best;
}

// `count` neighbours of `row` from `first` on, which share a scale: values 0 to 15 that are worth
// (value - zero) * scale. `values` [count] is scratch memory.
struct Int4Scale {
  float scale = 0;
  uint8_t zero = kInt4Zero;
};
inline Int4Scale Int4Weight(const HostMatrix& matrix, int64_t row, int64_t first, int32_t count,
                            float* values, uint8_t* out) {
  // Whole groups of int4: a checkpoint's own, or a scale for all of the row.
  const bool as_it_is =
      matrix.is_quantized() && first / matrix.group == (first + count - 1) / matrix.group;
  bool fits = as_it_is;
  for (int32_t i = 0; fits && i < count; ++i) {
    const int element = int8_t(matrix.data[row * matrix.cols + first + i]);
    fits = element >= -8 && element <= 7;
    out[i] = uint8_t(element + kInt4Zero);
  }
  if (fits) {
    const int64_t at = row * matrix.groups() + first / matrix.group;
    const int zero = matrix.zeros == nullptr ? 0 : matrix.zeros[at];
    if (zero >= -8 && zero <= 8) return {matrix.scales[at], uint8_t(zero + kInt4Zero)};
  }
  for (int32_t i = 0; i < count; ++i) values[i] = ElementOf(matrix, row, first + i);
  return {QuantizeInt4(values, count, out)};
}

}  // namespace baton::kernels
