#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/kv_heads.h"
#include "kernels/kv_view.h"

namespace baton::kernels {

// A worker's KV pool as its peers reach it: one share per tensor-parallel rank, of equal geometry,
// with that rank's heads (KvHeadsOf), one after the other:
//
//   [rank][layer][block][K|V][own kv_head][token][head_dim]
//
// With one rank it is that rank's KvView. A plain value; owns nothing.
struct KvShares {
  KvShares() = default;
  KvShares(const KvView& whole)  // NOLINT(google-explicit-constructor): a pool of one rank is one
      : first(whole), num_kv_heads(whole.num_kv_heads) {}
  KvShares(const KvView& rank_0, int32_t ranks, int32_t kv_heads)
      : first(rank_0), num_ranks(ranks), num_kv_heads(kv_heads) {}

  KvView first;  // rank 0's share
  int32_t num_ranks = 1;
  int32_t num_kv_heads = 0;  // of the model

  KvView rank(int32_t r) const {
    KvView share = first;
    share.base += size_t(r) * first.pool_bytes();
    return share;
  }
  // Ranks that keep the same head: 1, unless there are fewer heads than ranks.
  int32_t num_copies() const { return num_ranks > num_kv_heads ? num_ranks / num_kv_heads : 1; }

  int32_t num_layers() const { return first.num_layers; }
  int32_t num_blocks() const { return first.num_blocks; }
  int32_t block_tokens() const { return first.block_tokens; }
  // Of all ranks together.
  size_t bytes() const { return size_t(num_ranks) * first.pool_bytes(); }
  size_t block_bytes() const { return size_t(num_ranks) * first.block_bytes(); }
};

}  // namespace baton::kernels
