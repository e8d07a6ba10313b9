#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels/kv_shares.h"

namespace baton::handover {

// How a KV pool's heads are dealt out: what two workers must know of each other to exchange blocks.
// A worker of any number of ranks can hand KV to one of any other.
struct KvLayout {
  int32_t num_kv_heads = 0;  // of the model
  size_t head_bytes = 0;     // K (or V) of one head of one block
  int32_t num_ranks = 1;     // CanDealKvHeads(num_kv_heads, num_ranks)
};
KvLayout LayoutOf(const kernels::KvShares& pool);

// A contiguous part of one layer of one block, on its way from one rank's share to another's. Both
// offsets count from where that layer of that block begins in the share.
struct KvPiece {
  int32_t from_rank = 0;
  int32_t to_rank = 0;
  size_t from_offset = 0;
  size_t to_offset = 0;
  size_t bytes = 0;
  friend bool operator==(const KvPiece&, const KvPiece&) = default;
};

// The pieces that make one layer of one block whole on every rank of `to`, each byte once, by
// destination rank and rising offset, in as few pieces as there can be: one for each rank when both
// sides are divided alike. `from` and `to` have equal heads. Where the source keeps copies of a
// head, its readers are spread over them.
std::vector<KvPiece> PlanReshard(const KvLayout& from, const KvLayout& to);

// XXH3 over one layer of one block as a single rank would keep it, [K|V][kv_head][token][head_dim]:
// the same however the pool is divided. `copy` picks among KvShares::num_copies().
class BlockChecksummer {
 public:
  explicit BlockChecksummer(const kernels::KvShares& pool);
  uint64_t Of(int32_t layer, int32_t block, int32_t copy = 0) const;

 private:
  kernels::KvShares pool_;
  std::vector<std::vector<KvPiece>> copies_;  // in the order of their bytes
};

}  // namespace baton::handover
