#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/convert.h"
#include "kernels/kv_view.h"
#include "kernels/quantized_row.h"

// K or V of one token of one head, as pools keep it. In a quantized pool (fp8, int8) it is a
// quantized row, which depends on its own token alone, never on what else is in its block or when
// it came, so that a sequence has the same bytes in any batch and any chunks.
namespace baton::kernels {

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
