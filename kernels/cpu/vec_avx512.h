#pragma once

#include <immintrin.h>

#include <cstdint>

// Sixteen f32 lanes in one zmm. vec_avx2.h has the same names, the same lanes and the same order in
// reductions, so the kernels written over either give the same bits.
namespace baton::kernels::avx512 {

#define BATON_INLINE inline __attribute__((always_inline))

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

  friend BATON_INLINE Vec operator+(Vec a, Vec b) { return {_mm512_add_ps(a.v, b.v)}; }
  friend BATON_INLINE Vec operator-(Vec a, Vec b) { return {_mm512_sub_ps(a.v, b.v)}; }
  friend BATON_INLINE Vec operator*(Vec a, Vec b) { return {_mm512_mul_ps(a.v, b.v)}; }
  friend BATON_INLINE Vec operator/(Vec a, Vec b) { return {_mm512_div_ps(a.v, b.v)}; }
  static BATON_INLINE Vec Fma(Vec a, Vec b, Vec c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
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
  // a where x >= limit, else 0.
  static BATON_INLINE Vec KeepWhereAtLeast(Vec a, Vec x, Vec limit) {
    return {_mm512_maskz_mov_ps(_mm512_cmp_ps_mask(x.v, limit.v, _CMP_GE_OQ), a.v)};
  }
  // Lanes begin <= i < end of `a`, the others of `other`.
  static BATON_INLINE Vec KeepRange(Vec a, int begin, int end, Vec other) {
    return {_mm512_mask_mov_ps(other.v, __mmask16(First(end) & ~First(begin)), a.v)};
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
  // Interleaves two rows of 16 bf16 into 16 pairs; a null row is zeros.
  static BATON_INLINE void InterleavePairs(const uint16_t* a, const uint16_t* b, int n,
                                           uint32_t* dst) {
    const __mmask16 mask = First(n);
    const __m512i low = a == nullptr ? _mm512_setzero_si512()
                                     : _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, a));
    const __m512i high = b == nullptr ? _mm512_setzero_si512()
                                      : _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, b));
    _mm512_storeu_si512(dst, _mm512_or_si512(low, _mm512_slli_epi32(high, 16)));
  }

 private:
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
  const __mmask16 mask = First(columns);
  __m512i r[16], t[16];
  for (int i = 0; i < 16; ++i) {
    r[i] = i < rows ? _mm512_maskz_loadu_epi32(mask, src + size_t(i) * src_bytes)
                    : _mm512_setzero_si512();
  }
  for (int i = 0; i < 16; i += 2) {  // pairs of dwords
    t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
    t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
  }
  for (int i = 0; i < 16; i += 4) {  // quads: r[i + c] holds column 4 * lane + c of rows i .. i + 3
    r[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
    r[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
    r[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
    r[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
  }
  for (int c = 0; c < 4; ++c) {  // a 4x4 transpose of 128-bit lanes
    const __m512i a = _mm512_shuffle_i32x4(r[c], r[c + 4], 0x88);
    const __m512i b = _mm512_shuffle_i32x4(r[c], r[c + 4], 0xdd);
    const __m512i e = _mm512_shuffle_i32x4(r[c + 8], r[c + 12], 0x88);
    const __m512i f = _mm512_shuffle_i32x4(r[c + 8], r[c + 12], 0xdd);
    _mm512_storeu_si512(dst + size_t(c) * dst_dwords, _mm512_shuffle_i32x4(a, e, 0x88));
    _mm512_storeu_si512(dst + size_t(c + 4) * dst_dwords, _mm512_shuffle_i32x4(b, f, 0x88));
    _mm512_storeu_si512(dst + size_t(c + 8) * dst_dwords, _mm512_shuffle_i32x4(a, e, 0xdd));
    _mm512_storeu_si512(dst + size_t(c + 12) * dst_dwords, _mm512_shuffle_i32x4(b, f, 0xdd));
  }
}

}  // namespace baton::kernels::avx512
