#pragma once

#include <compare>
#include <cstdint>

#include "kernels/cuda/gemm/gemm.h"

namespace baton::kernels::cuda {

// All of a GEMM that is known when a model is loaded: everything but its number of tokens.
struct GemmKind {
  int32_t num_outputs = 0;  // N
  int32_t num_inputs = 0;   // K
  bool has_bias = false;
  bool is_added = false;
  friend auto operator<=>(const GemmKind&, const GemmKind&) = default;
};

inline GemmKind KindOf(const GemmArgs& args) {
  return {.num_outputs = args.num_outputs,
          .num_inputs = args.num_inputs,
          .has_bias = args.bias != nullptr,
          .is_added = args.is_added};
}

}  // namespace baton::kernels::cuda
