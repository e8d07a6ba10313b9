#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/dtype.h"

namespace baton::kernels {

// Geometry of one worker's KV pool, and where it lies. Layout, outermost first:
//
//   [layer][block][K|V][kv_head][token][head_dim]
//
// so that one layer of one block is a single contiguous piece (one put in a hand-over), and a
// tensor parallel shard's heads are two pieces of it. In a quantized pool (fp8, int8) a head's
// [token][head_dim] is followed by its scales, [token] of f32: whatever moves or checks whole heads
// takes them along. A plain value; owns nothing.
struct KvView {
  std::byte* base = nullptr;  // device memory of pool_bytes()
  DType dtype = DType::kF32;
  int32_t num_layers = 0;
  int32_t num_blocks = 0;
  int32_t block_tokens = 0;  // P: 16, 32 or 64
  int32_t num_kv_heads = 0;  // Hkv
  int32_t head_dim = 0;      // D

  // K (or V) of one token of one head, without its scale.
  size_t row_bytes() const { return size_t(head_dim) * BytesOf(dtype); }
  // From where a head begins to its scales, where it has any.
  size_t scales_offset() const { return size_t(block_tokens) * row_bytes(); }
  // K (or V) of one head of one block: [token][head_dim], and the scales.
  size_t head_bytes() const {
    return scales_offset() + (IsQuantized(dtype) ? size_t(block_tokens) * sizeof(float) : 0);
  }
  // One layer of one block, K then V: the unit of transfer.
  size_t block_layer_bytes() const { return 2 * size_t(num_kv_heads) * head_bytes(); }
  size_t layer_bytes() const { return size_t(num_blocks) * block_layer_bytes(); }
  size_t block_bytes() const { return size_t(num_layers) * block_layer_bytes(); }
  size_t pool_bytes() const { return size_t(num_layers) * layer_bytes(); }

  // Offset from `base` of one layer of one block.
  size_t offset(int32_t layer, int32_t block) const {
    return size_t(layer) * layer_bytes() + size_t(block) * block_layer_bytes();
  }
  std::byte* piece(int32_t layer, int32_t block) const { return base + offset(layer, block); }
};

}  // namespace baton::kernels
