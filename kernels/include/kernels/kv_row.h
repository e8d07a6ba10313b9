#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>

#include "kernels/convert.h"
#include "kernels/kv_view.h"

// K or V of one token of one head, as pools keep it. In a quantized pool (fp8, int8) an element is
// worth its byte times the row's scale, and the scale is what makes the row's largest element the
// type's largest one: a row depends on its own token alone, never on what else is in its block or
// when it came, so that a sequence has the same bytes in any batch and any chunks.
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

struct KvRow {
  std::byte* elements;
  float* scale;  // null unless the pool is quantized
};

// `part` 0: K; 1: V.
inline KvRow RowOf(const KvView& kv, int32_t layer, int32_t block, int part, int32_t head,
                   int32_t token) {
  std::byte* at =
      kv.piece(layer, block) + (size_t(part) * kv.num_kv_heads + head) * kv.head_bytes();
  std::byte* scales = at + kv.scales_offset();
  return {at + size_t(token) * kv.row_bytes(),
          IsQuantized(kv.dtype) ? reinterpret_cast<float*>(scales) + token : nullptr};
}

// Rounds a row of head_dim elements to the pool's type.
inline void StoreKvRow(const KvRow& row, DType dtype, const float* x, int32_t head_dim) {
  if (row.scale != nullptr) {
    *row.scale = QuantizeRow(x, head_dim, dtype, row.elements);
    return;
  }
  for (int32_t d = 0; d < head_dim; ++d) StoreElement(row.elements, dtype, d, x[d]);
}

inline float LoadKvElement(const KvRow& row, DType dtype, int32_t d) {
  const float element = LoadElement(row.elements, dtype, d);
  return row.scale == nullptr ? element : element * *row.scale;
}

}  // namespace baton::kernels
