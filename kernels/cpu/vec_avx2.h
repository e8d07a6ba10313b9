#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

// The sixteen f32 lanes of vec_avx512.h in two ymm registers: same names, lanes and order in
// reductions.
namespace baton::kernels::avx2 {

#define BATON_INLINE inline __attribute__((always_inline))
// Arrays of vectors stay in registers only where every loop over them is unrolled.
#define BATON_UNROLL _Pragma("GCC unroll 16")

struct Vec {
  __m256 lo, hi;

  static BATON_INLINE Vec Zero() { return {_mm256_setzero_ps(), _mm256_setzero_ps()}; }
  static BATON_INLINE Vec Set(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
  static BATON_INLINE Vec Load(const float* p) {
    return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)};
  }
  static BATON_INLINE Vec LoadFirst(const float* p, int n) {  // the other lanes are 0
    alignas(32) float lanes[16] = {};
    for (int i = 0; i < n; ++i) lanes[i] = p[i];
    return Load(lanes);
  }
  static BATON_INLINE __m256 WidenHalf(const uint16_t* p) {
    const __m128i h = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(h), 16));
  }
  static BATON_INLINE Vec LoadBf16(const uint16_t* p) { return {WidenHalf(p), WidenHalf(p + 8)}; }
  static BATON_INLINE Vec LoadBf16First(const uint16_t* p, int n) {
    alignas(32) uint16_t lanes[16] = {};
    for (int i = 0; i < n; ++i) lanes[i] = p[i];
    return LoadBf16(lanes);
  }
  static BATON_INLINE Vec LoadInt8(const std::byte* p) {
    return {_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(Bytes(p))),
            _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(Bytes(p + 8)))};
  }
  // Sixteen int32, each less `by`.
  static BATON_INLINE Vec LoadDifference(const int32_t* p, int32_t by) {
    const __m256i b = _mm256_set1_epi32(by);
    return {_mm256_cvtepi32_ps(_mm256_sub_epi32(Half(p, 0), b)),
            _mm256_cvtepi32_ps(_mm256_sub_epi32(Half(p, 1), b))};
  }
  // e4m3 that is no NaN. Subnormals have no leading one: one is lent and taken away again.
  static BATON_INLINE Vec LoadFp8(const std::byte* p) { return {Fp8Half(p), Fp8Half(p + 8)}; }
  // The low (k) and high (k + 1) halves of sixteen pairs of bf16.
  static BATON_INLINE Vec LowOfPairs(const void* p) {
    return {_mm256_castsi256_ps(_mm256_slli_epi32(Half(p, 0), 16)),
            _mm256_castsi256_ps(_mm256_slli_epi32(Half(p, 1), 16))};
  }
  static BATON_INLINE Vec HighOfPairs(const void* p) {
    const __m256i mask = _mm256_set1_epi32(int(0xffff0000u));
    return {_mm256_castsi256_ps(_mm256_and_si256(Half(p, 0), mask)),
            _mm256_castsi256_ps(_mm256_and_si256(Half(p, 1), mask))};
  }

  BATON_INLINE void Store(float* p) const {
    _mm256_storeu_ps(p, lo);
    _mm256_storeu_ps(p + 8, hi);
  }
  BATON_INLINE void StoreFirst(float* p, int n) const {
    alignas(32) float lanes[16];
    Store(lanes);
    for (int i = 0; i < n; ++i) p[i] = lanes[i];
  }
  BATON_INLINE void StoreBf16(uint16_t* p) const {
    const __m256i packed = _mm256_packus_epi32(Narrow(lo), Narrow(hi));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm256_permute4x64_epi64(packed, 0xd8));
  }
  BATON_INLINE void StoreBf16First(uint16_t* p, int n) const {
    alignas(32) uint16_t lanes[16];
    StoreBf16(lanes);
    for (int i = 0; i < n; ++i) p[i] = lanes[i];
  }

  // The first `n`, rounded to the nearest whole number; -128 to 127.
  BATON_INLINE void StoreInt8(std::byte* p, int n) const {
    const __m256i words = _mm256_packs_epi32(_mm256_cvtps_epi32(lo), _mm256_cvtps_epi32(hi));
    const __m256i ordered = _mm256_permute4x64_epi64(words, 0xd8);
    const __m128i bytes =
        _mm_packs_epi16(_mm256_castsi256_si128(ordered), _mm256_extracti128_si256(ordered, 1));
    if (n == 16) return _mm_storeu_si128(reinterpret_cast<__m128i*>(p), bytes);
    alignas(16) std::byte lanes[16];
    _mm_store_si128(reinterpret_cast<__m128i*>(lanes), bytes);
    for (int i = 0; i < n; ++i) p[i] = lanes[i];
  }

  friend BATON_INLINE Vec operator+(Vec a, Vec b) {
    return {_mm256_add_ps(a.lo, b.lo), _mm256_add_ps(a.hi, b.hi)};
  }
  friend BATON_INLINE Vec operator-(Vec a, Vec b) {
    return {_mm256_sub_ps(a.lo, b.lo), _mm256_sub_ps(a.hi, b.hi)};
  }
  friend BATON_INLINE Vec operator*(Vec a, Vec b) {
    return {_mm256_mul_ps(a.lo, b.lo), _mm256_mul_ps(a.hi, b.hi)};
  }
  friend BATON_INLINE Vec operator/(Vec a, Vec b) {
    return {_mm256_div_ps(a.lo, b.lo), _mm256_div_ps(a.hi, b.hi)};
  }
  static BATON_INLINE Vec Fma(Vec a, Vec b, Vec c) {
    return {_mm256_fmadd_ps(a.lo, b.lo, c.lo), _mm256_fmadd_ps(a.hi, b.hi, c.hi)};
  }
  static BATON_INLINE Vec FmaMinus(Vec a, Vec b, Vec c) {
    return {_mm256_fmsub_ps(a.lo, b.lo, c.lo), _mm256_fmsub_ps(a.hi, b.hi, c.hi)};
  }
  static BATON_INLINE Vec Max(Vec a, Vec b) {
    return {_mm256_max_ps(a.lo, b.lo), _mm256_max_ps(a.hi, b.hi)};
  }
  static BATON_INLINE Vec Min(Vec a, Vec b) {
    return {_mm256_min_ps(a.lo, b.lo), _mm256_min_ps(a.hi, b.hi)};
  }
  static BATON_INLINE Vec Round(Vec a) {
    constexpr int kNearest = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
    return {_mm256_round_ps(a.lo, kNearest), _mm256_round_ps(a.hi, kNearest)};
  }
  // 2^n for integral n in [-126, 127].
  static BATON_INLINE Vec PowerOfTwo(Vec n) { return {PowerOfTwoHalf(n.lo), PowerOfTwoHalf(n.hi)}; }
  // p * 2^n for integral n; 0 where n < -126.
  static BATON_INLINE Vec TimesPowerOfTwo(Vec p, Vec n) {
    const Vec lowest = Set(-126.0f);
    return KeepWhereAtLeast(p * PowerOfTwo(Max(lowest, n)), n, lowest);
  }
  // a where x >= limit, else 0.
  static BATON_INLINE Vec KeepWhereAtLeast(Vec a, Vec x, Vec limit) {
    return {_mm256_and_ps(a.lo, _mm256_cmp_ps(x.lo, limit.lo, _CMP_GE_OQ)),
            _mm256_and_ps(a.hi, _mm256_cmp_ps(x.hi, limit.hi, _CMP_GE_OQ))};
  }
  // Lanes begin <= i < end of `a`, the others of `other`.
  static BATON_INLINE Vec KeepRange(Vec a, int begin, int end, Vec other) {
    return {_mm256_blendv_ps(other.lo, a.lo, RangeHalf(0, begin, end)),
            _mm256_blendv_ps(other.hi, a.hi, RangeHalf(8, begin, end))};
  }

  // The larger of two magnitudes by their bits: a NaN is above infinity, and that above all
  // numbers.
  static BATON_INLINE Vec MaxMagnitude(Vec magnitude, Vec x) {
    return {MaxMagnitudeHalf(magnitude.lo, x.lo), MaxMagnitudeHalf(magnitude.hi, x.hi)};
  }
  static BATON_INLINE uint32_t LargestBits(Vec magnitude) {
    alignas(32) uint32_t lanes[8];
    _mm256_store_si256(
        reinterpret_cast<__m256i*>(lanes),
        _mm256_max_epu32(_mm256_castps_si256(magnitude.lo), _mm256_castps_si256(magnitude.hi)));
    uint32_t largest = 0;
    for (const uint32_t bits : lanes) largest = bits > largest ? bits : largest;
    return largest;
  }

  static BATON_INLINE float Sum(Vec a) {
    const __m256 m = _mm256_add_ps(a.lo, a.hi);
    __m128 x = _mm_add_ps(_mm256_castps256_ps128(m), _mm256_extractf128_ps(m, 1));
    x = _mm_add_ps(x, _mm_movehl_ps(x, x));
    return _mm_cvtss_f32(_mm_add_ss(x, _mm_movehdup_ps(x)));
  }
  static BATON_INLINE float Largest(Vec a) {
    const __m256 m = _mm256_max_ps(a.lo, a.hi);
    __m128 x = _mm_max_ps(_mm256_castps256_ps128(m), _mm256_extractf128_ps(m, 1));
    x = _mm_max_ps(x, _mm_movehl_ps(x, x));
    return _mm_cvtss_f32(_mm_max_ss(x, _mm_movehdup_ps(x)));
  }

  // Transposes 16 rows of 16 dwords: row i at src + i * src_bytes goes to column i of dst, whose
  // rows are dst_dwords apart. Rows from `rows` on and columns from `columns` on are not read and
  // become 0.
  static BATON_INLINE void Transpose(const std::byte* src, size_t src_bytes, int rows, int columns,
                                     uint32_t* dst, size_t dst_dwords) {
    alignas(64) uint32_t square[16][16];
    if (columns < 16) {
      for (int i = 0; i < rows; ++i) {
        for (int c = 0; c < 16; ++c) square[i][c] = 0;
        __builtin_memcpy(square[i], src + size_t(i) * src_bytes, size_t(columns) * 4);
      }
      src = reinterpret_cast<const std::byte*>(square);
      src_bytes = sizeof(square[0]);
    }
    for (int row = 0; row < 16; row += 8) {
      for (int column = 0; column < 16; column += 8) {
        TransposeEighth(src + size_t(row) * src_bytes + column * 4, src_bytes, rows - row,
                        dst + size_t(column) * dst_dwords + row, dst_dwords);
      }
    }
  }
  // 8 x 8 of the same; `rows` may be anything.
  static BATON_INLINE void TransposeEighth(const std::byte* src, size_t src_bytes, int rows,
                                           uint32_t* dst, size_t dst_dwords) {
    __m256 r[8], s[8];
    BATON_UNROLL
    for (int i = 0; i < 8; ++i) {
      r[i] = i < rows ? _mm256_loadu_ps(reinterpret_cast<const float*>(src + size_t(i) * src_bytes))
                      : _mm256_setzero_ps();
    }
    BATON_UNROLL
    for (int i = 0; i < 8; i += 2) {
      s[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
      s[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
    }
    BATON_UNROLL
    for (int i = 0; i < 8; i += 4) {
      r[i] = _mm256_shuffle_ps(s[i], s[i + 2], 0x44);
      r[i + 1] = _mm256_shuffle_ps(s[i], s[i + 2], 0xee);
      r[i + 2] = _mm256_shuffle_ps(s[i + 1], s[i + 3], 0x44);
      r[i + 3] = _mm256_shuffle_ps(s[i + 1], s[i + 3], 0xee);
    }
    BATON_UNROLL
    for (int i = 0; i < 4; ++i) {
      auto* column = reinterpret_cast<float*>(dst + size_t(i) * dst_dwords);
      _mm256_storeu_ps(column, _mm256_permute2f128_ps(r[i], r[i + 4], 0x20));
      _mm256_storeu_ps(column + 4 * dst_dwords, _mm256_permute2f128_ps(r[i], r[i + 4], 0x31));
    }
  }
  // Interleaves two rows of 32 bf16, of which the first `n` count, into 32 pairs.
  static BATON_INLINE void InterleavePairs(const uint16_t* a, const uint16_t* b, int n,
                                           uint32_t* dst) {
    for (int i = 0; i < 32; ++i) {
      const uint32_t low = a == nullptr || i >= n ? 0 : a[i];
      const uint32_t high = b == nullptr || i >= n ? 0 : b[i];
      dst[i] = low | high << 16;
    }
  }
  static BATON_INLINE void InterleavePairs(const uint16_t* a, const uint16_t* b, uint32_t* dst) {
    InterleavePairs(a, b, 32, dst);
  }

 private:
  static BATON_INLINE __m128i Bytes(const std::byte* p) {
    return _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p));
  }
  static BATON_INLINE __m256 MaxMagnitudeHalf(__m256 magnitude, __m256 x) {
    const __m256i bits = _mm256_and_si256(_mm256_castps_si256(x), _mm256_set1_epi32(0x7fffffff));
    return _mm256_castsi256_ps(_mm256_max_epu32(_mm256_castps_si256(magnitude), bits));
  }
  static BATON_INLINE __m256 Fp8Half(const std::byte* p) {
    const __m256i bits = _mm256_cvtepu8_epi32(Bytes(p));
    const __m256i magnitude =
        _mm256_slli_epi32(_mm256_and_si256(bits, _mm256_set1_epi32(0x7f)), 20);
    const __m256i one = _mm256_set1_epi32(1 << 23);
    const __m256i subnormal = _mm256_cmpgt_epi32(one, magnitude);
    const __m256i biased =
        _mm256_add_epi32(_mm256_add_epi32(magnitude, _mm256_set1_epi32(120 << 23)),
                         _mm256_and_si256(subnormal, one));
    const __m256 lent = _mm256_and_ps(_mm256_castsi256_ps(subnormal), _mm256_set1_ps(0x1p-6f));
    const __m256 value = _mm256_sub_ps(_mm256_castsi256_ps(biased), lent);
    const __m256i sign = _mm256_slli_epi32(_mm256_and_si256(bits, _mm256_set1_epi32(0x80)), 24);
    return _mm256_or_ps(value, _mm256_castsi256_ps(sign));
  }
  static BATON_INLINE __m256i Half(const void* p, int i) {
    return _mm256_loadu_si256(static_cast<const __m256i*>(p) + i);
  }
  static BATON_INLINE __m256 PowerOfTwoHalf(__m256 n) {
    const __m256i exponent = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
    return _mm256_castsi256_ps(_mm256_slli_epi32(exponent, 23));
  }
  static BATON_INLINE __m256 RangeHalf(int first, int begin, int end) {
    const __m256i i =
        _mm256_add_epi32(_mm256_set1_epi32(first), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
    return _mm256_castsi256_ps(_mm256_andnot_si256(_mm256_cmpgt_epi32(_mm256_set1_epi32(begin), i),
                                                   _mm256_cmpgt_epi32(_mm256_set1_epi32(end), i)));
  }
  static BATON_INLINE __m256i Narrow(__m256 v) {  // bf16 bits in dwords; round to nearest even
    const __m256i bits = _mm256_castps_si256(v);
    const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
    const __m256i up = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
    const __m256i quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x400000));
    const __m256 chosen = _mm256_blendv_ps(_mm256_castsi256_ps(up), _mm256_castsi256_ps(quiet),
                                           _mm256_cmp_ps(v, v, _CMP_UNORD_Q));
    return _mm256_srli_epi32(_mm256_castps_si256(chosen), 16);
  }
};

}  // namespace baton::kernels::avx2
