#pragma once

#include <type_traits>

#include "kernels/cuda/primitives/bf16.cuh"
#include "kernels/cuda/primitives/warp.cuh"
#include "kernels/kv_row.h"

// KV of one byte per element (kernels/kv_row.h): the same bytes as the host's.
namespace baton::kernels::cuda {

struct Fp8 {
  uint8_t bits;
};
struct Int8 {
  int8_t bits;
};

template <typename T>
constexpr bool kIsQuantized = std::is_same_v<T, Fp8> || std::is_same_v<T, Int8>;

#if BATON_ON_DEVICE
// An element's half-precision twin has the same bits further up, and an exponent that is 8 more.
BATON_DEVICE float ToFloat(Fp8 value) {
  const uint32_t half = (value.bits & 0x80u) << 8 | (value.bits & 0x7fu) << 7;
  float result;
  asm("{.reg .b16 h; cvt.u16.u32 h, %1; cvt.f32.f16 %0, h;}" : "=f"(result) : "r"(half));
  return result * 256;
}
BATON_DEVICE float ToFloat(Int8 value) { return float(value.bits); }

template <typename T>
BATON_DEVICE T Quantized(float scaled);
// As Fp8FromF32() of convert.h.
template <>
BATON_DEVICE Fp8 Quantized<Fp8>(float scaled) {
  const uint32_t bits = BitsOf(scaled), magnitude = bits & 0x7fffffffu;
  uint32_t code;
  if (magnitude >= 0x43e00000u) {
    code = 0x7eu;
  } else if (magnitude < 0x3c800000u) {
    code = BitsOf(__fadd_rn(FloatOfBits(magnitude), 16384.0f)) & 0xfu;
  } else {
    code = (magnitude + 0x7ffffu + (magnitude >> 20 & 1u)) >> 20;
    code -= 120u << 3;
  }
  return {uint8_t(code | (bits >> 24 & 0x80u))};
}
template <>
BATON_DEVICE Int8 Quantized<Int8>(float scaled) {
  const int32_t whole = __float2int_rn(scaled);
  return {int8_t(whole > 127 ? 127 : whole < -127 ? -127 : whole)};
}
#else
BATON_DEVICE float ToFloat(Fp8 value) { return F32FromFp8(value.bits); }
BATON_DEVICE float ToFloat(Int8 value) { return float(value.bits); }
template <typename T>
BATON_DEVICE T Quantized(float scaled) {
  if constexpr (std::is_same_v<T, Fp8>) {
    return {Fp8FromF32(scaled)};
  } else {
    return {Int8FromF32(scaled)};
  }
}
#endif

template <typename T>
BATON_DEVICE void Unpack(const Vec16& in, float (&out)[16]) {
  BATON_UNROLL
  for (int i = 0; i < 16; ++i) {
    const auto byte = uint8_t(in.words[i / 4] >> (i % 4 * 8));
    if constexpr (std::is_same_v<T, Fp8>) {
      out[i] = ToFloat(Fp8{byte});
    } else {
      out[i] = ToFloat(Int8{int8_t(byte)});
    }
  }
}

// Sixteen bytes of T, as floats.
template <typename T>
BATON_DEVICE void UnpackAs(const Vec16& in, float (&out)[kElementsPerVec16<T>]) {
  if constexpr (kIsQuantized<T>) {
    Unpack<T>(in, out);
  } else {
    Unpack(in, out);
  }
}

// What a row's elements are multiplied with, and its scale, from its largest magnitude: the whole
// warp's row, each lane with some of it. As QuantizeRow().
struct RowScale {
  float inverse;  // 0: all elements are zero
  float scale;
};
template <typename T>
BATON_DEVICE RowScale ScaleOfWarp(uint32_t largest_bits) {
  constexpr float kLargest = std::is_same_v<T, Fp8> ? kFp8Largest : kInt8Largest;
  BATON_UNROLL
  for (uint32_t mask = kWarpLanes / 2; mask > 0; mask /= 2) {
    const uint32_t other = ShuffleXor(largest_bits, mask);
    largest_bits = other > largest_bits ? other : largest_bits;
  }
  if (largest_bits >= 0x7f800000u) return {0, FloatOfBits(0x7fc00000u)};
  const float largest = FloatOfBits(largest_bits);
  if (largest < kQuantizedSmallest) return {0, 0};
  return {RoundedQuotient(kLargest, largest), RoundedQuotient(largest, kLargest)};
}

}  // namespace baton::kernels::cuda
