#include "kernels/cpu/isa_ops.h"
#include "kernels/cpu/tile_avx2.h"
#include "kernels/cpu/vec_avx2.h"

#include "kernels/cpu/ops_impl.h"

namespace baton::kernels {
namespace {

BATON_AVX2_TILE(FloatsPacked, BATON_PART_FLOATS, 4)
BATON_AVX2_TILE(FloatsRows, BATON_PART_FLOATS, 256)
BATON_AVX2_TILE(PairsPacked, BATON_PART_PAIRS, 4)

void TilePacked(const TileArgs& a) { FloatsPacked(a, a.rows, a.k); }
void TileRows(const TileArgs& a) { FloatsRows(a, 1, a.k); }
void TilePairs(const TileArgs& a) { PairsPacked(a, a.rows, a.k / 2); }

IsaOps WithPairs() {
  IsaOps ops = Ops<avx2::Vec>::Table("avx2", kAvx2RowsAtOnce, TilePacked, TileRows);
  ops.tile_f32_pairs = TilePairs;
  return ops;
}

}  // namespace

const IsaOps* Avx2Ops() {
  static const IsaOps ops = WithPairs();
  return &ops;
}

}  // namespace baton::kernels
