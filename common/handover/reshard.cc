#include "common/handover/reshard.h"

#include <span>

#include "common/base/check.h"
#include "kernels/checksum.h"

namespace baton::handover {
namespace {

using kernels::KvHeads;
using kernels::KvHeadsOf;

int32_t CopiesOf(const KvLayout& layout) {
  return layout.num_ranks > layout.num_kv_heads ? layout.num_ranks / layout.num_kv_heads : 1;
}

KvHeads HeadsOf(const KvLayout& layout, int32_t rank) {
  return KvHeadsOf(layout.num_kv_heads, rank, layout.num_ranks);
}

// The rank that keeps copy `copy` of a head.
int32_t KeeperOf(const KvLayout& layout, int32_t head, int32_t copy) {
  const int32_t copies = CopiesOf(layout);
  return copies > 1 ? head * copies + copy : head / (layout.num_kv_heads / layout.num_ranks);
}

// Where K or V of a head that `rank` keeps begins.
size_t OffsetOf(const KvLayout& layout, int32_t rank, bool value, int32_t head) {
  const KvHeads own = HeadsOf(layout, rank);
  return size_t((value ? own.count : 0) + head - own.first) * layout.head_bytes;
}

void Append(const KvPiece& piece, std::vector<KvPiece>& pieces) {
  if (!pieces.empty()) {
    KvPiece& last = pieces.back();
    if (last.from_rank == piece.from_rank && last.to_rank == piece.to_rank &&
        last.from_offset + last.bytes == piece.from_offset &&
        last.to_offset + last.bytes == piece.to_offset) {
      last.bytes += piece.bytes;
      return;
    }
  }
  pieces.push_back(piece);
}

// What `to_rank` needs, read from copy `copy` of every head.
void AppendRank(const KvLayout& from, const KvLayout& to, int32_t to_rank, int32_t copy,
                std::vector<KvPiece>& pieces) {
  const KvHeads wanted = HeadsOf(to, to_rank);
  for (const bool value : {false, true}) {
    for (int32_t head = wanted.first; head < wanted.first + wanted.count; ++head) {
      const int32_t from_rank = KeeperOf(from, head, copy);
      Append({.from_rank = from_rank,
              .to_rank = to_rank,
              .from_offset = OffsetOf(from, from_rank, value, head),
              .to_offset = OffsetOf(to, to_rank, value, head),
              .bytes = from.head_bytes},
             pieces);
    }
  }
}

}  // namespace

KvLayout LayoutOf(const kernels::KvShares& pool) {
  return {.num_kv_heads = pool.num_kv_heads,
          .head_bytes = pool.first.head_bytes(),
          .num_ranks = pool.num_ranks};
}

std::vector<KvPiece> PlanReshard(const KvLayout& from, const KvLayout& to) {
  CHECK(from.num_kv_heads == to.num_kv_heads && from.head_bytes == to.head_bytes,
        "{} heads of {} bytes to {} of {}", from.num_kv_heads, from.head_bytes, to.num_kv_heads,
        to.head_bytes);
  const int32_t from_copies = CopiesOf(from), to_copies = CopiesOf(to);
  std::vector<KvPiece> pieces;
  for (int32_t rank = 0; rank < to.num_ranks; ++rank) {
    const int32_t copy = rank % to_copies * from_copies / to_copies;
    AppendRank(from, to, rank, copy, pieces);
  }
  return pieces;
}

BlockChecksummer::BlockChecksummer(const kernels::KvShares& pool) : pool_(pool) {
  const KvLayout divided = LayoutOf(pool);
  KvLayout whole = divided;
  whole.num_ranks = 1;
  copies_.resize(size_t(pool.num_copies()));
  for (int32_t copy = 0; copy < pool.num_copies(); ++copy) {
    AppendRank(divided, whole, 0, copy, copies_[size_t(copy)]);
  }
}

uint64_t BlockChecksummer::Of(int32_t layer, int32_t block, int32_t copy) const {
  std::vector<std::span<const std::byte>> bytes;
  bytes.reserve(copies_[size_t(copy)].size());
  for (const KvPiece& piece : copies_[size_t(copy)]) {
    const std::byte* share = pool_.rank(piece.from_rank).piece(layer, block);
    bytes.emplace_back(share + piece.from_offset, piece.bytes);
  }
  return kernels::Checksum(bytes);
}

}  // namespace baton::handover
