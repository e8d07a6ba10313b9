#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace baton::kernels {

// Element types of weights, activations and KV. bf16 and f16 are stored as raw 16-bit patterns; fp8
// (e4m3: largest 448, no infinity; for KV alone) and int8 (-127 to 127) mean something only with
// their row's scale (kernels/quantized_row.h). int4 is for weights alone, 32, 64 or 128 neighbours
// with a scale (kernels/quantized_weight.h).
enum class DType : uint8_t { kF32, kF16, kBF16, kFp8, kInt8, kInt4G32, kInt4G64, kInt4G128 };

// Inputs of a weight of int4 that share a scale; 0: another type.
constexpr int32_t GroupOf(DType dtype) {
  if (dtype == DType::kInt4G32) return 32;
  if (dtype == DType::kInt4G64) return 64;
  return dtype == DType::kInt4G128 ? 128 : 0;
}

// Weights that meet activations of int8.
constexpr bool IsQuantizedWeight(DType dtype) {
  return dtype == DType::kInt8 || GroupOf(dtype) > 0;
}

// One byte per element, with a scale per row.
constexpr bool IsQuantized(DType dtype) { return dtype == DType::kFp8 || dtype == DType::kInt8; }

// Of an element; of int4, whose elements have no address, 0.
constexpr size_t BytesOf(DType dtype) {
  if (GroupOf(dtype) > 0) return 0;
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
    case DType::kInt4G32:
      return "int4-g32";
    case DType::kInt4G64:
      return "int4-g64";
    case DType::kInt4G128:
      return "int4-g128";
  }
  return "?";
}

}  // namespace baton::kernels
