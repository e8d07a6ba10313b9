#pragma once

#include "kernels/cuda/primitives/memory.cuh"
#include "kernels/cuda/primitives/quantized.cuh"
#include "kernels/kv_view.h"

namespace baton::kernels::cuda {

// One layer of a KV pool, as kernels address it: element offsets for KvView's layout
// [block][K|V][kv_head][token][head_dim]. Travels by value.
template <typename T>
struct KvLayer {
  T* base;                // of the layer
  uint32_t block_tokens;  // P: a power of two
  uint32_t token_shift;   // log2 P
  uint32_t num_kv_heads;
  uint32_t head_dim;
  uint32_t head_elements;  // from one head of a block to the next, scales included

  BATON_DEVICE size_t Head(uint32_t block, uint32_t part, uint32_t head) const {
    return ((size_t{block} * 2 + part) * num_kv_heads + head) * head_elements;
  }
  // Where K (part 0) or V (part 1) of one token of one head begins.
  BATON_DEVICE size_t Row(uint32_t block, uint32_t part, uint32_t head, uint32_t token) const {
    return Head(block, part, head) + token * head_dim;
  }
  // What that row's elements are to be multiplied with; only of quantized pools.
  BATON_DEVICE Global<const float> Scales(uint32_t block, uint32_t part, uint32_t head) const {
    const T* scales = base + Head(block, part, head) + block_tokens * head_dim;
    return Global<const float>(reinterpret_cast<const float*>(scales));
  }
};

template <typename T>
KvLayer<T> LayerOf(const KvView& kv, int32_t layer) {
  uint32_t shift = 0;
  while ((1 << shift) < kv.block_tokens) ++shift;
  return {reinterpret_cast<T*>(kv.piece(layer, 0)),
          uint32_t(kv.block_tokens),
          shift,
          uint32_t(kv.num_kv_heads),
          uint32_t(kv.head_dim),
          uint32_t(kv.head_bytes() / sizeof(T))};
}

}  // namespace baton::kernels::cuda
