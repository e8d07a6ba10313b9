#pragma once

#include <bit>
#include <cstdint>
#include <cstring>

#include "kernels/dtype.h"

// Conversions of single elements. Every rounding in this room is to nearest, ties to even.
namespace baton::kernels {

inline float F32FromBf16(uint16_t bits) { return std::bit_cast<float>(uint32_t{bits} << 16); }

inline uint16_t Bf16FromF32(float value) {
  uint32_t bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return uint16_t((bits >> 16) | 0x40u);  // a quiet NaN
  return uint16_t((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

inline float F32FromF16(uint16_t half) {
  const uint32_t sign = uint32_t(half & 0x8000u) << 16;
  const uint32_t exponent = (half >> 10) & 0x1fu;
  const uint32_t mantissa = half & 0x3ffu;
  if (exponent == 0) {  // zero and subnormals: mantissa * 2^-24 is exact
    return std::bit_cast<float>(std::bit_cast<uint32_t>(float(mantissa) * 0x1p-24f) | sign);
  }
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7f800000u | (mantissa << 13));
  return std::bit_cast<float>(sign | ((exponent + 112) << 23) | (mantissa << 13));
}

// fp8 is e4m3 without infinities: sign, four bits of exponent (bias 7), three of mantissa. What is
// beyond 448 becomes 448.
constexpr float kFp8Largest = 448;

inline float F32FromFp8(uint8_t bits) {
  const uint32_t sign = uint32_t(bits & 0x80u) << 24;
  if ((bits & 0x7fu) == 0x7fu) return std::bit_cast<float>(sign | 0x7fc00000u);
  if ((bits & 0x78u) == 0) {  // zero and subnormals: mantissa * 2^-9 is exact
    return std::bit_cast<float>(std::bit_cast<uint32_t>(float(bits & 7u) * 0x1p-9f) | sign);
  }
  return std::bit_cast<float>(sign | ((uint32_t(bits & 0x7fu) << 20) + (120u << 23)));
}

inline uint8_t Fp8FromF32(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint32_t magnitude = bits & 0x7fffffffu;
  const auto sign = uint8_t(bits >> 24 & 0x80u);
  if (magnitude > 0x7f800000u) return sign | 0x7fu;  // a NaN
  if (magnitude >= 0x43e00000u) return sign | 0x7eu;
  if (magnitude < 0x3c800000u) {  // below 2^-6: added to 2^14, it is rounded to steps of 2^-9
    const float rounded = std::bit_cast<float>(magnitude) + 0x1p14f;
    return sign | uint8_t(std::bit_cast<uint32_t>(rounded) & 0xfu);
  }
  const uint32_t rounded = magnitude + 0x7ffffu + (magnitude >> 20 & 1u);
  return sign | uint8_t((rounded >> 20) - (120u << 3));
}

constexpr float kInt8Largest = 127;

inline int8_t Int8FromF32(float value) {
  if (!(value > -kInt8Largest)) return value <= -kInt8Largest ? -127 : 0;
  if (value >= kInt8Largest) return 127;
  // Added to 3 * 2^22, it is rounded to whole numbers.
  return int8_t(uint8_t(std::bit_cast<uint32_t>(value + 0x1.8p23f)));
}

// The element at `index` of possibly unaligned memory; of fp8 and int8 without its scale.
inline float LoadElement(const std::byte* data, DType dtype, int64_t index) {
  if (dtype == DType::kF32) {
    float value;
    std::memcpy(&value, data + index * 4, 4);
    return value;
  }
  if (dtype == DType::kFp8) return F32FromFp8(uint8_t(data[index]));
  if (dtype == DType::kInt8) return float(int8_t(data[index]));
  uint16_t bits;
  std::memcpy(&bits, data + index * 2, 2);
  return dtype == DType::kBF16 ? F32FromBf16(bits) : F32FromF16(bits);
}

// Rounds to `dtype` (f32, bf16, fp8 or int8) and stores.
inline void StoreElement(void* data, DType dtype, int64_t index, float value) {
  if (dtype == DType::kF32) {
    static_cast<float*>(data)[index] = value;
  } else if (dtype == DType::kFp8) {
    static_cast<uint8_t*>(data)[index] = Fp8FromF32(value);
  } else if (dtype == DType::kInt8) {
    static_cast<int8_t*>(data)[index] = Int8FromF32(value);
  } else {
    static_cast<uint16_t*>(data)[index] = Bf16FromF32(value);
  }
}

}  // namespace baton::kernels
