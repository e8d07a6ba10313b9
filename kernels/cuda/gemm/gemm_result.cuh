#pragma once

#include "kernels/cuda/gemm/gemm.h"
#include "kernels/cuda/primitives/memory.cuh"

namespace baton::kernels::cuda {

// One element of the result, with its bias, to where it belongs; nothing beyond the ends.
BATON_DEVICE void StoreResult(const GemmArgs& args, uint32_t token, uint32_t output, float value) {
  if (token >= uint32_t(args.num_tokens) || output >= uint32_t(args.num_outputs)) return;
  if (args.bias != nullptr) value += float(Global<const float>(args.bias)[output]);
  const Global<float> out(args.out);
  const size_t at = size_t{token} * size_t(args.num_outputs) + output;
  out[at] = args.is_added ? float(out[at]) + value : value;
}

}  // namespace baton::kernels::cuda
