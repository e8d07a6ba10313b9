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

// What is fetched while a tile is computed, spread evenly over its passes.
struct Fetch {
  const char* at;
  int64_t step;

  BATON_INLINE void Next() {
    _mm_prefetch(at, _MM_HINT_T1);
    _mm_prefetch(at + step, _MM_HINT_T1);
    at += 2 * step;
  }
};

// ROWS (1 .. 3) rows times 4 * QUADS of the panel's lanes, in bytes. Pairs of products are summed
// in 32 bits after both sides are widened to 16: the instruction that takes bytes would saturate.
// Four bytes of a lane become two dwords, so 12 accumulators are three rows of half the lanes; they
// are put together at the end.
template <int ROWS, int QUADS>
void Int8Part(const TileArgs& a, int row, int lane, Fetch& fetch) {
  const auto* x = static_cast<const int32_t*>(a.x) + row;
  const auto* w = static_cast<const __m128i*>(a.panel) + lane / 4;
  __m256i sum[ROWS][QUADS];
  BATON_UNROLL
  for (int r = 0; r < ROWS; ++r) {
    BATON_UNROLL
    for (int i = 0; i < QUADS; ++i) sum[r][i] = _mm256_setzero_si256();
  }
  for (int64_t j = 0; j < a.k; ++j, x += a.rows, w += kPanelLanes / 4) {
    fetch.Next();
    __m256i b[ROWS];
    BATON_UNROLL
    for (int r = 0; r < ROWS; ++r) b[r] = _mm256_cvtepi8_epi16(_mm_set1_epi32(x[r]));
    BATON_UNROLL
    for (int i = 0; i < QUADS; ++i) {
      const __m256i wide = _mm256_cvtepu8_epi16(_mm_loadu_si128(w + i));
      BATON_UNROLL
      for (int r = 0; r < ROWS; ++r) {
        sum[r][i] = _mm256_add_epi32(sum[r][i], _mm256_madd_epi16(wide, b[r]));
      }
    }
  }
  BATON_UNROLL
  for (int r = 0; r < ROWS; ++r) {
    auto* acc = reinterpret_cast<__m256i*>(a.acc + (row + r) * kPanelLanes + lane);
    BATON_UNROLL
    for (int i = 0; i < QUADS / 2; ++i) {
      const __m256i halves = _mm256_hadd_epi32(sum[r][2 * i], sum[r][2 * i + 1]);
      const __m256i lanes = _mm256_permute4x64_epi64(halves, 0xd8);
      const __m256i before = a.first ? _mm256_setzero_si256() : _mm256_loadu_si256(acc + i);
      _mm256_storeu_si256(acc + i, _mm256_add_epi32(before, lanes));
    }
  }
}

void TileInt8(const TileArgs& a) {
  static constexpr decltype(&Int8Part<1, 4>) kByRows[] = {Int8Part<1, 4>, Int8Part<2, 4>,
                                                          Int8Part<3, 4>};
  Fetch fetch{static_cast<const char*>(a.prefetch), a.prefetch_step};
  if (a.rows == 1) return Int8Part<1, 8>(a, 0, 0, fetch);
  const int parts = (a.rows + 2) / 3;
  fetch.step /= 2 * parts;
  for (int i = 0, row = 0; i < parts; ++i) {
    const int rows = a.rows * (i + 1) / parts - row;
    for (int lane = 0; lane < kPanelLanes; lane += 16) kByRows[rows - 1](a, row, lane, fetch);
    row += rows;
  }
}

// The same for panels of 0 to 15: eight sums of two products each fit 16 bits, and are widened
// together.
template <int ROWS>
void Int4Tile(const TileArgs& a, int row, int lane) {
  const auto* x = static_cast<const int32_t*>(a.x) + row;
  const auto* w = reinterpret_cast<const __m256i*>(static_cast<const uint32_t*>(a.panel) + lane);
  const __m256i one = _mm256_set1_epi16(1);
  __m256i sum[ROWS][2];
  BATON_UNROLL
  for (int r = 0; r < ROWS; ++r) sum[r][0] = sum[r][1] = _mm256_setzero_si256();
  for (int64_t k = 0; k < a.k; k += 8) {
    __m256i words[ROWS][2];
    BATON_UNROLL
    for (int r = 0; r < ROWS; ++r) words[r][0] = words[r][1] = _mm256_setzero_si256();
    for (int j = 0; j < 8; ++j, x += a.rows, w += kPanelLanes / 8) {
      const __m256i w0 = _mm256_loadu_si256(w), w1 = _mm256_loadu_si256(w + 1);
      BATON_UNROLL
      for (int r = 0; r < ROWS; ++r) {
        const __m256i b = _mm256_set1_epi32(x[r]);
        words[r][0] = _mm256_add_epi16(words[r][0], _mm256_maddubs_epi16(w0, b));
        words[r][1] = _mm256_add_epi16(words[r][1], _mm256_maddubs_epi16(w1, b));
      }
    }
    BATON_UNROLL
    for (int r = 0; r < ROWS; ++r) {
      sum[r][0] = _mm256_add_epi32(sum[r][0], _mm256_madd_epi16(words[r][0], one));
      sum[r][1] = _mm256_add_epi32(sum[r][1], _mm256_madd_epi16(words[r][1], one));
    }
  }
  BATON_UNROLL
  for (int r = 0; r < ROWS; ++r) {
    auto* acc = reinterpret_cast<__m256i*>(a.acc + (row + r) * kPanelLanes + lane);
    BATON_UNROLL
    for (int i = 0; i < 2; ++i) {
      const __m256i before = a.first ? _mm256_setzero_si256() : _mm256_loadu_si256(acc + i);
      _mm256_storeu_si256(acc + i, _mm256_add_epi32(before, sum[r][i]));
    }
  }
}

void TileInt4(const TileArgs& a) {
  static constexpr decltype(&Int4Tile<1>) kInt4ByRows[] = {Int4Tile<1>, Int4Tile<2>, Int4Tile<3>};
  for (int row = 0; row < a.rows; row += 3) {
    const int rows = a.rows - row < 3 ? a.rows - row : 3;
    for (int lane = 0; lane < kPanelLanes; lane += 16) kInt4ByRows[rows - 1](a, row, lane);
  }
}

IsaOps AllOps() {
  IsaOps ops = Ops<avx2::Vec>::Table("avx2", kAvx2RowsAtOnce, TilePacked, TileRows);
  ops.tile_f32_pairs = TilePairs;
  ops.tile_int8 = TileInt8;
  ops.tile_int4 = TileInt4;
  return ops;
}

}  // namespace

const IsaOps* Avx2Ops() {
  static const IsaOps ops = AllOps();
  return &ops;
}

}  // namespace baton::kernels
