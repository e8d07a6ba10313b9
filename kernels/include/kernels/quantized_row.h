#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>

#include "kernels/convert.h"

// A row of elements of one byte (fp8, int8) with a scale: an element is worth its byte times the
// scale, and the scale is what makes the row's largest element the type's largest one. Rows of KV,
// rows of activations and outputs of a weight are kept so.
namespace baton::kernels {

// Rows whose largest element is smaller than this are zero.
constexpr float kQuantizedSmallest = 0x1p-100f;

constexpr float LargestOf(DType quantized) {
  return quantized == DType::kFp8 ? kFp8Largest : kInt8Largest;
}

// Writes `n` elements and returns their scale. A row with an infinity or a NaN has the scale NaN:
// whatever reads it shows it.
inline float QuantizeRow(const float* x, int32_t n, DType dtype, std::byte* out) {
  uint32_t largest = 0;  // as bits: NaN is above infinity, and that above all numbers
  for (int32_t i = 0; i < n; ++i) {
    const uint32_t magnitude = std::bit_cast<uint32_t>(x[i]) & 0x7fffffffu;
    largest = magnitude > largest ? magnitude : largest;
  }
  const bool is_finite = largest < 0x7f800000u;
  const float of_row = std::bit_cast<float>(largest);
  const bool is_zero = of_row < kQuantizedSmallest;
  const float inverse = is_finite && !is_zero ? LargestOf(dtype) / of_row : 0;
  for (int32_t i = 0; i < n; ++i) {
    const float scaled = inverse == 0 ? 0 : x[i] * inverse;
    out[i] = dtype == DType::kFp8 ? std::byte(Fp8FromF32(scaled)) : std::byte(Int8FromF32(scaled));
  }
  if (!is_finite) return __builtin_nanf("");
  return is_zero ? 0 : of_row / LargestOf(dtype);
}

}  // namespace baton::kernels
