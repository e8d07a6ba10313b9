#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

// Sixteen f32 lanes in one zmm. vec_avx2.h has the same names, the same lanes and the same order in
// reductions, so the kernels written over either give the same bits.
namespace baton::kernels::avx512 {

#define BATON_INLINE inline __attribute__((always_inline))
// Arrays of vectors stay in registers only where every loop over them is unrolled.
#define BATON_UNROLL _Pragma("GCC unroll 16")

struct Vec {
  __m512 v;

  static BATON_INLINE __mmask16 First(int n) { return __mmask16((1u << n) - 1u); }

  static BATON_INLINE Vec Zero() { return {_mm512_setzero_ps()}; }
  static BATON_INLINE Vec Set(float x) { return {_mm512_set1_ps(x)}; }
  static BATON_INLINE Vec Load(const float* p) { return {_mm512_loadu_ps(p)}; }
  static BATON_INLINE Vec LoadFirst(const float* p, int n) {  // the other lanes are 0
    return {_mm512_maskz_loadu_ps(First(n), p)};
  }
  static BATON_INLINE Vec Widen(__m256i h) {
    return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(h), 16))};
  }
  static BATON_INLINE Vec LoadBf16(const uint16_t* p) {
    return Widen(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  }
  static BATON_INLINE Vec LoadBf16First(const uint16_t* p, int n) {
    return Widen(_mm256_maskz_loadu_epi16(First(n), p));
  }
  static BATON_INLINE Vec LoadInt8(const std::byte* p) {
    return {_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(Bytes(p)))};
  }
  // Sixteen int32, each less `by`.
  static BATON_INLINE Vec LoadDifference(const int32_t* p, int32_t by) {
    return {_mm512_cvtepi32_ps(_mm512_sub_epi32(_mm512_loadu_si512(p), _mm512_set1_epi32(by)))};
  }
  // e4m3 that is no NaN. Subnormals have no leading one: one is lent and taken away again.
  static BATON_INLINE Vec LoadFp8(const std::byte* p) {
    const __m512i bits = _mm512_cvtepu8_epi32(Bytes(p));
    const __m512i magnitude =
        _mm512_slli_epi32(_mm512_and_si512(bits, _mm512_set1_epi32(0x7f)), 20);
    const __mmask16 subnormal = _mm512_cmplt_epi32_mask(magnitude, _mm512_set1_epi32(1 << 23));
    __m512i biased = _mm512_add_epi32(magnitude, _mm512_set1_epi32(120 << 23));
    biased = _mm512_mask_add_epi32(biased, subnormal, biased, _mm512_set1_epi32(1 << 23));
    __m512 value = _mm512_castsi512_ps(biased);
    value = _mm512_mask_sub_ps(value, subnormal, value, _mm512_set1_ps(0x1p-6f));
    const __m512i sign = _mm512_slli_epi32(_mm512_and_si512(bits, _mm512_set1_epi32(0x80)), 24);
    return {_mm512_castsi512_ps(_mm512_or_si512(_mm512_castps_si512(value), sign))};
  }
  // The low (k) and high (k + 1) halves of sixteen pairs of bf16.
  static BATON_INLINE Vec LowOfPairs(const void* p) {
    return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_loadu_si512(p), 16))};
  }
  static BATON_INLINE Vec HighOfPairs(const void* p) {
    return {_mm512_castsi512_ps(
        _mm512_and_si512(_mm512_loadu_si512(p), _mm512_set1_epi32(int(0xffff0000u))))};
  }

  BATON_INLINE void Store(float* p) const { _mm512_storeu_ps(p, v); }
  BATON_INLINE void StoreFirst(float* p, int n) const { _mm512_mask_storeu_ps(p, First(n), v); }
  BATON_INLINE __m256i Narrow() const {  // round to nearest even; NaN stays NaN
    const __m512i bits = _mm512_castps_si512(v);
    const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    __m512i up = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
    up = _mm512_mask_or_epi32(up, _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q), bits,
                              _mm512_set1_epi32(0x400000));
    return _mm512_cvtepi32_epi16(_mm512_srli_epi32(up, 16));
  }
  BATON_INLINE void StoreBf16(uint16_t* p) const {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), Narrow());
  }
  BATON_INLINE void StoreBf16First(uint16_t* p, int n) const {
    _mm256_mask_storeu_epi16(p, First(n), Narrow());
  }

  // The first `n`, rounded to the nearest whole number; -128 to 127.
  BATON_INLINE void StoreInt8(std::byte* p, int n) const {
    _mm512_mask_cvtsepi32_storeu_epi8(p, First(n), _mm512_cvtps_epi32(v));
  }

  friend BATON_INLINE Vec operator+(Vec a, Vec b) { return {_mm512_add_ps(a.v, b.v)}; }
  friend BATON_INLINE Vec operator-(Vec a, Vec b) { return {_mm512_sub_ps(a.v, b.v)}; }
  friend BATON_INLINE Vec operator*(Vec a, Vec b) { return {_mm512_mul_ps(a.v, b.v)}; }
  friend BATON_INLINE Vec operator/(Vec a, Vec b) { return {_mm512_div_ps(a.v, b.v)}; }
  static BATON_INLINE Vec Fma(Vec a, Vec b, Vec c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
  static BATON_INLINE Vec FmaMinus(Vec a, Vec b, Vec c) { return {_mm512_fmsub_ps(a.v, b.v, c.v)}; }
  static BATON_INLINE Vec Max(Vec a, Vec b) { return {_mm512_max_ps(a.v, b.v)}; }
  static BATON_INLINE Vec Min(Vec a, Vec b) { return {_mm512_min_ps(a.v, b.v)}; }
  static BATON_INLINE Vec Round(Vec a) {
    return {_mm512_roundscale_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
  }
  // 2^n for integral n in [-126, 127].
  static BATON_INLINE Vec PowerOfTwo(Vec n) {
    const __m512i exponent = _mm512_add_epi32(_mm512_cvtps_epi32(n.v), _mm512_set1_epi32(127));
    return {_mm512_castsi512_ps(_mm512_slli_epi32(exponent, 23))};
  }
  // p * 2^n for integral n; 0 where n < -149.
  static BATON_INLINE Vec TimesPowerOfTwo(Vec p, Vec n) { return {_mm512_scalef_ps(p.v, n.v)}; }
  // a where x >= limit, else 0.
  static BATON_INLINE Vec KeepWhereAtLeast(Vec a, Vec x, Vec limit) {
    return {_mm512_maskz_mov_ps(_mm512_cmp_ps_mask(x.v, limit.v, _CMP_GE_OQ), a.v)};
  }
  // Lanes begin <= i < end of `a`, the others of `other`.
  static BATON_INLINE Vec KeepRange(Vec a, int begin, int end, Vec other) {
    return {_mm512_mask_mov_ps(other.v, __mmask16(First(end) & ~First(begin)), a.v)};
  }

  // The larger of two magnitudes by their bits: a NaN is above infinity, and that above all
  // numbers.
  static BATON_INLINE Vec MaxMagnitude(Vec magnitude, Vec x) {
    const __m512i bits = _mm512_and_si512(_mm512_castps_si512(x.v), _mm512_set1_epi32(0x7fffffff));
    return {_mm512_castsi512_ps(_mm512_max_epu32(_mm512_castps_si512(magnitude.v), bits))};
  }
  static BATON_INLINE uint32_t LargestBits(Vec magnitude) {
    return _mm512_reduce_max_epu32(_mm512_castps_si512(magnitude.v));
  }

  static BATON_INLINE float Sum(Vec a) {
    return SumOf8(_mm256_add_ps(_mm512_castps512_ps256(a.v), High(a.v)));
  }
  static BATON_INLINE float Largest(Vec a) {
    const __m256 m = _mm256_max_ps(_mm512_castps512_ps256(a.v), High(a.v));
    __m128 x = _mm_max_ps(_mm256_castps256_ps128(m), _mm256_extractf128_ps(m, 1));
    x = _mm_max_ps(x, _mm_movehl_ps(x, x));
    return _mm_cvtss_f32(_mm_max_ss(x, _mm_movehdup_ps(x)));
  }

  // Transposes 16 rows of 16 dwords: row i at src + i * src_bytes goes to column i of dst, whose
  // rows are dst_dwords apart. Rows from `rows` on and columns from `columns` on are not read and
  // become 0.
  static BATON_INLINE void Transpose(const std::byte* src, size_t src_bytes, int rows, int columns,
                                     uint32_t* dst, size_t dst_dwords);
  // Interleaves two rows of 32 bf16, of which the first `n` count, into 32 pairs.
  static BATON_INLINE void InterleavePairs(const uint16_t* a, const uint16_t* b, int n,
                                           uint32_t* dst) {
    const __mmask32 mask = n >= 32 ? ~__mmask32{0} : (__mmask32{1} << n) - 1;
    const __m512i even = _mm512_maskz_loadu_epi16(a == nullptr ? 0 : mask, a);
    const __m512i odd = _mm512_maskz_loadu_epi16(b == nullptr ? 0 : mask, b);
    Interleave(even, odd, dst);
  }
  static BATON_INLINE void InterleavePairs(const uint16_t* a, const uint16_t* b, uint32_t* dst) {
    Interleave(_mm512_loadu_si512(a), _mm512_loadu_si512(b), dst);
  }

 private:
  static BATON_INLINE __m128i Bytes(const std::byte* p) {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  }
  static BATON_INLINE void TransposeHalf(const std::byte* src, size_t src_bytes, uint32_t* dst,
                                         size_t dst_dwords);
  static BATON_INLINE void Interleave(__m512i even, __m512i odd, uint32_t* dst) {
    const __m512i first = _mm512_add_epi32(
        _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15),
        _mm512_slli_epi32(
            _mm512_setr_epi32(32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47), 16));
    const __m512i second = _mm512_add_epi32(first, _mm512_set1_epi32(0x00100010));
    _mm512_storeu_si512(dst, _mm512_permutex2var_epi16(even, first, odd));
    _mm512_storeu_si512(dst + 16, _mm512_permutex2var_epi16(even, second, odd));
  }
  static BATON_INLINE __m256 High(__m512 a) {
    return _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(a), 1));
  }
  static BATON_INLINE float SumOf8(__m256 m) {
    __m128 x = _mm_add_ps(_mm256_castps256_ps128(m), _mm256_extractf128_ps(m, 1));
    x = _mm_add_ps(x, _mm_movehl_ps(x, x));
    return _mm_cvtss_f32(_mm_add_ss(x, _mm_movehdup_ps(x)));
  }
};

BATON_INLINE void Vec::Transpose(const std::byte* src, size_t src_bytes, int rows, int columns,
                                 uint32_t* dst, size_t dst_dwords) {
  alignas(64) uint32_t square[16][16];
  if (rows < 16 || columns < 16) {
    const __mmask16 mask = First(columns);
    for (int i = 0; i < 16; ++i) {
      const __mmask16 present = i < rows ? mask : __mmask16{0};
      _mm512_store_si512(square[i], _mm512_maskz_loadu_epi32(present, src + size_t(i) * src_bytes));
    }
    src = reinterpret_cast<const std::byte*>(square);
    src_bytes = 64;
  }
  TransposeHalf(src, src_bytes, dst, dst_dwords);
  TransposeHalf(src + 32, src_bytes, dst + 8 * dst_dwords, dst_dwords);
}

// Eight columns of sixteen rows: eight registers at a time, so that none is spilled.
BATON_INLINE void Vec::TransposeHalf(const std::byte* src, size_t src_bytes, uint32_t* dst,
                                     size_t dst_dwords) {
  const auto row = [&](int i) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(src + size_t(i) * src_bytes));
  };
  // Rows i and i + 8; lanes of 128 bits: i cols 0-3, i cols 4-7, i + 8 cols 0-3, i + 8 cols 4-7.
  __m512i r[8], t[8];
  BATON_UNROLL
  for (int i = 0; i < 8; ++i) {
    r[i] = _mm512_inserti64x4(_mm512_castsi256_si512(row(i)), row(i + 8), 1);
  }
  BATON_UNROLL
  for (int i = 0; i < 8; i += 2) {
    t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
    t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
  }
  BATON_UNROLL
  for (int i = 0; i < 8; i += 4) {  // r[i + c]: columns c and 4 + c of rows i .. i + 3 (and 8 more)
    r[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
    r[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
    r[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
    r[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
  }
  const __m512i low = _mm512_setr_epi64(0, 1, 8, 9, 4, 5, 12, 13);
  const __m512i high = _mm512_setr_epi64(2, 3, 10, 11, 6, 7, 14, 15);
  BATON_UNROLL
  for (int c = 0; c < 4; ++c) {
    _mm512_storeu_si512(dst + size_t(c) * dst_dwords,
                        _mm512_permutex2var_epi64(r[c], low, r[c + 4]));
    _mm512_storeu_si512(dst + size_t(c + 4) * dst_dwords,
                        _mm512_permutex2var_epi64(r[c], high, r[c + 4]));
  }
}

}  // namespace baton::kernels::avx512
