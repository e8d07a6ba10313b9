#include "kernels/cpu/isa_ops.h"
#include "kernels/cpu/vec_avx2.h"

#include "kernels/cpu/ops_impl.h"

namespace baton::kernels {
namespace {

// ROWS (1 .. 6) rows times 16 of the panel's lanes: 12 accumulators of the 16 registers. `row_step`
// and `k_step` are in floats.
template <int ROWS>
void HalfTile(const float* x, int64_t row_step, int64_t k_step, const float* w, int64_t k,
              float* acc, bool first) {
  __m256 sum[ROWS][2];
  BATON_UNROLL
  for (int r = 0; r < ROWS; ++r) {
    BATON_UNROLL
    for (int i = 0; i < 2; ++i) {
      sum[r][i] = first ? _mm256_setzero_ps() : _mm256_loadu_ps(acc + r * kPanelLanes + i * 8);
    }
  }
  for (int64_t j = 0; j < k; ++j, x += k_step, w += kPanelLanes) {
    const __m256 w0 = _mm256_loadu_ps(w), w1 = _mm256_loadu_ps(w + 8);
    BATON_UNROLL
    for (int r = 0; r < ROWS; ++r) {
      const __m256 b = _mm256_broadcast_ss(x + r * row_step);
      sum[r][0] = _mm256_fmadd_ps(b, w0, sum[r][0]);
      sum[r][1] = _mm256_fmadd_ps(b, w1, sum[r][1]);
    }
  }
  BATON_UNROLL
  for (int r = 0; r < ROWS; ++r) {
    BATON_UNROLL
    for (int i = 0; i < 2; ++i) _mm256_storeu_ps(acc + r * kPanelLanes + i * 8, sum[r][i]);
  }
}

constexpr decltype(&HalfTile<1>) kByRows[] = {HalfTile<1>, HalfTile<2>, HalfTile<3>,
                                              HalfTile<4>, HalfTile<5>, HalfTile<6>};

void Tile(const TileArgs& a, int64_t row_step, int64_t k_step) {
  const auto* x = static_cast<const float*>(a.x);
  const auto* w = static_cast<const float*>(a.panel);
  for (int row = 0; row < a.rows; row += 6) {
    const int rows = a.rows - row < 6 ? a.rows - row : 6;
    for (int lane = 0; lane < kPanelLanes; lane += 16) {
      kByRows[rows - 1](x + row * row_step, row_step, k_step, w + lane, a.k,
                        a.acc + row * kPanelLanes + lane, a.first);
    }
  }
}

void TilePacked(const TileArgs& a) { Tile(a, 1, a.rows); }
void TileRows(const TileArgs& a) { Tile(a, 64, 1); }

constexpr IsaOps kOps = Ops<avx2::Vec>::Table("avx2", TilePacked, TileRows);

}  // namespace

const IsaOps* Avx2Ops() { return &kOps; }

}  // namespace baton::kernels
