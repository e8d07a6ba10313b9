#pragma once

#include <cstddef>

#include "kernels/cuda/attention/paged_decode.h"

namespace baton::kernels::cuda {

// The sizes that paged_decode.cu is compiled with, as functions of its template's arguments, so
// that choose.cc counts the same shared memory.
struct PagedDecodeShape {
  static constexpr int kThreads = 128;
  static constexpr int kTileBytesMax = 32 << 10;

  int head_dim;
  int element_bytes;
  int heads;  // per block

  constexpr int chunks() const { return head_dim * element_bytes / 16; }  // 16 bytes each, per row
  constexpr int elements() const { return 16 / element_bytes; }           // per chunk
  // Tokens of K or V that lie in shared memory together: a power of two, so that it divides a
  // split.
  constexpr int tile_tokens() const {
    int tokens = kThreads;
    while (tokens * head_dim * element_bytes > kTileBytesMax) tokens /= 2;
    return tokens;
  }
  constexpr int tile_elements() const { return tile_tokens() * head_dim; }
  // Elements of head_dim that a thread sums: sixteen for eight heads would not fit its registers.
  constexpr int summed() const { return elements() < 8 ? elements() : 8; }
  // Threads that sum the same elements over different tokens.
  constexpr int token_lanes() const { return kThreads / (head_dim / summed()); }
  constexpr int sums() const { return token_lanes() * heads * head_dim; }  // f32, at the end
  // Two tiles, later used for the sums.
  constexpr int ring_elements() const {
    const int for_sums = sums() * 4 / element_bytes;
    return 2 * tile_elements() > for_sums ? 2 * tile_elements() : for_sums;
  }
  // Block indices of a split of blocks of 16 tokens, the smallest.
  static constexpr int kTableEntries = kDecodeSplitTokens / 16;
  // Of K and of V, one per token of the split.
  constexpr int scales() const { return element_bytes == 1 ? 2 * kDecodeSplitTokens : 0; }

  constexpr size_t SharedBytes() const {
    return size_t(ring_elements() * element_bytes) +                        // ring
           size_t(heads * kDecodeSplitTokens * 4) +                         // scores
           size_t(heads * head_dim * 4) +                                   // q
           size_t(scales() * 4) +                                           // scales
           size_t(kTableEntries * 4) + size_t((heads * 8 + 15) / 16 * 16);  // table, statistics
  }
};

}  // namespace baton::kernels::cuda
