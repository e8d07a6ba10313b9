#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace baton::kernels {

// Element types of weights, activations and KV. bf16 and f16 are stored as raw 16-bit patterns.
enum class DType : uint8_t { kF32, kF16, kBF16 };

constexpr size_t BytesOf(DType dtype) { return dtype == DType::kF32 ? 4 : 2; }

constexpr std::string_view NameOf(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return "f32";
    case DType::kF16:
      return "f16";
    case DType::kBF16:
      return "bf16";
  }
  return "?";
}

}  // namespace baton::kernels
