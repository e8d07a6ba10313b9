#pragma once

#include <vector>

#include "kernels/cuda/gemm/gemm.h"

// What a GEMM is measured on, and what of its result is looked at.
namespace baton::kernels::cuda {

// Numbers like activations for x of all tokens: hardware is faster on zeros. bf16 alone.
Error FillInput(const GemmArgs& args, Stream stream);
// The first outputs of the first token and the last ones of the last, waited for.
Error ReadSample(const GemmArgs& args, Stream stream, std::vector<float>* sample);
// Whether one product could have both samples: kernels add in other orders, and no more than that.
bool IsSameResult(const std::vector<float>& want, const std::vector<float>& got);

}  // namespace baton::kernels::cuda
