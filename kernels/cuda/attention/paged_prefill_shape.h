#pragma once

#include <cstddef>

namespace baton::kernels::cuda {

// The sizes that paged_prefill.cu is compiled with, so that choose.cc counts the same shared
// memory.
struct PagedPrefillShape {
  static constexpr int kThreads = 128;
  static constexpr int kRows = 64;  // query rows of a block of threads: 16 per warp

  int head_dim;
  bool quantized = false;

  // Tokens of K and V that lie in shared memory together, at absolute positions.
  constexpr int tile_tokens() const { return head_dim <= 128 ? 64 : 32; }
  constexpr int chunks() const { return head_dim / 8; }  // 16 bytes each, per row
  // Of K and V: 16 bytes each, as they come from the pool.
  constexpr int pool_chunks() const { return quantized ? head_dim / 16 : chunks(); }
  // K and V twice, or widened once and twice as bytes: the same size.
  constexpr int ring_elements() const { return 4 * tile_tokens() * head_dim; }
  constexpr int scales() const { return quantized ? 2 * tile_tokens() : 0; }
  constexpr size_t SharedBytes() const {
    return size_t(kRows * head_dim + ring_elements()) * 2 + size_t(scales()) * 4;
  }
};

// The same for paged_prefill_warpgroup.cu.
struct PagedPrefillGroupShape {
  static constexpr int kConsumers = 2;  // warpgroups with 64 query rows each
  static constexpr int kRows = 64 * kConsumers;
  static constexpr int kThreads = 128 * (kConsumers + 1);

  int head_dim;

  constexpr int tile_tokens() const { return head_dim <= 128 ? 128 : 64; }
  // Elements of head_dim in one swizzled row of 128 or 64 bytes.
  constexpr int panel() const { return head_dim % 64 == 0 ? 64 : 32; }
  // What aligns the rest, q, twice K and V, nine barriers.
  constexpr size_t SharedBytes() const {
    return 1024 + size_t(kRows + 4 * tile_tokens()) * size_t(head_dim) * 2 + 80;
  }
};

}  // namespace baton::kernels::cuda
