#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace baton::kernels {

// Element types of weights, activations and KV. bf16 and f16 are stored as raw 16-bit patterns; fp8
// (e4m3: largest 448, no infinity) and int8 (-127 to 127) are for KV alone and mean something only
// with their row's scale (kernels/kv_row.h).
enum class DType : uint8_t { kF32, kF16, kBF16, kFp8, kInt8 };

// KV of one byte per element, with a scale per row.
constexpr bool IsQuantized(DType dtype) { return dtype == DType::kFp8 || dtype == DType::kInt8; }

constexpr size_t BytesOf(DType dtype) {
  if (dtype == DType::kF32) return 4;
  return IsQuantized(dtype) ? 1 : 2;
}

constexpr std::string_view NameOf(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return "f32";
    case DType::kF16:
      return "f16";
    case DType::kBF16:
      return "bf16";
    case DType::kFp8:
      return "fp8";
    case DType::kInt8:
      return "int8";
  }
  return "?";
}

}  // namespace baton::kernels
