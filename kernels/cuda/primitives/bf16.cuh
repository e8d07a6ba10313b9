#pragma once

#include "kernels/cuda/primitives/platform.cuh"

#if BATON_ON_DEVICE
#include <cuda_bf16.h>
#else
#include <bit>

#include "kernels/convert.h"
#endif

namespace baton::kernels::cuda {

// An element as it is stored.
struct Bf16 {
  uint16_t bits;
};

// To nearest, ties to even, as everywhere in kernels/.
#if BATON_ON_DEVICE
BATON_DEVICE float ToFloat(Bf16 value) { return __uint_as_float(uint32_t{value.bits} << 16); }
BATON_DEVICE Bf16 ToBf16(float value) { return {__bfloat16_as_ushort(__float2bfloat16_rn(value))}; }
// The two halves of a register: the first element low.
BATON_DEVICE float LowToFloat(uint32_t pair) { return __uint_as_float(pair << 16); }
BATON_DEVICE float HighToFloat(uint32_t pair) { return __uint_as_float(pair & 0xffff0000u); }
BATON_DEVICE uint32_t PackBf16(float low, float high) {
  uint32_t pair;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  return pair;
}
BATON_DEVICE float FloatOfBits(uint32_t bits) { return __uint_as_float(bits); }
BATON_DEVICE uint32_t BitsOf(float value) { return __float_as_uint(value); }
#else
BATON_DEVICE float ToFloat(Bf16 value) { return F32FromBf16(value.bits); }
BATON_DEVICE Bf16 ToBf16(float value) { return {Bf16FromF32(value)}; }
BATON_DEVICE float LowToFloat(uint32_t pair) { return F32FromBf16(uint16_t(pair)); }
BATON_DEVICE float HighToFloat(uint32_t pair) { return F32FromBf16(uint16_t(pair >> 16)); }
BATON_DEVICE uint32_t PackBf16(float low, float high) {
  return uint32_t{Bf16FromF32(low)} | uint32_t{Bf16FromF32(high)} << 16;
}
BATON_DEVICE float FloatOfBits(uint32_t bits) { return std::bit_cast<float>(bits); }
BATON_DEVICE uint32_t BitsOf(float value) { return std::bit_cast<uint32_t>(value); }
#endif

BATON_DEVICE float ToFloat(float value) { return value; }

// How many elements 16 bytes hold, and how they are taken out and put in, for both element types.
template <typename T>
constexpr int kElementsPerVec16 = int(16 / sizeof(T));

BATON_DEVICE void Unpack(const Vec16& in, float (&out)[4]) {
  BATON_UNROLL
  for (int i = 0; i < 4; ++i) out[i] = FloatOfBits(in.words[i]);
}
BATON_DEVICE void Unpack(const Vec16& in, float (&out)[8]) {
  BATON_UNROLL
  for (int i = 0; i < 4; ++i) {
    out[2 * i] = LowToFloat(in.words[i]);
    out[2 * i + 1] = HighToFloat(in.words[i]);
  }
}
BATON_DEVICE Vec16 Pack(const float (&in)[4]) {
  return {{BitsOf(in[0]), BitsOf(in[1]), BitsOf(in[2]), BitsOf(in[3])}};
}
BATON_DEVICE Vec16 Pack(const float (&in)[8]) {
  return {{PackBf16(in[0], in[1]), PackBf16(in[2], in[3]), PackBf16(in[4], in[5]),
           PackBf16(in[6], in[7])}};
}

// Rounds to the element type of the destination.
template <typename T>
BATON_DEVICE T FromFloat(float value);
template <>
BATON_DEVICE float FromFloat<float>(float value) {
  return value;
}
template <>
BATON_DEVICE Bf16 FromFloat<Bf16>(float value) {
  return ToBf16(value);
}

}  // namespace baton::kernels::cuda
