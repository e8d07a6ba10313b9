#include "kernels/cuda/tuning/gemm_input.h"

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "kernels/convert.h"
#include "kernels/cuda/runtime/runtime.h"

namespace baton::kernels::cuda {

Error FillInput(const GemmArgs& args, Stream stream) {
  constexpr size_t kPeriod = 65537;  // a prime: rows differ
  std::vector<uint16_t> pattern(kPeriod);
  uint32_t state = 1;
  for (uint16_t& element : pattern) {
    state = state * 1664525u + 1013904223u;
    element = Bf16FromF32(float(int32_t(state >> 8) - (1 << 23)) * 0x1p-23f);
  }
  const size_t count = size_t(args.num_tokens) * size_t(args.num_inputs);
  auto* x = static_cast<uint16_t*>(const_cast<void*>(args.x));
  for (size_t begin = 0; begin < count; begin += kPeriod) {
    const size_t bytes = std::min(kPeriod, count - begin) * sizeof(uint16_t);
    if (Error error = CopyIn(pattern.data(), x + begin, bytes, stream)) return error;
  }
  return Wait(stream);
}

Error ReadSample(const GemmArgs& args, Stream stream, std::vector<float>* sample) {
  constexpr size_t kEach = 4096;
  const size_t all = size_t(args.num_tokens) * size_t(args.num_outputs);
  const size_t each = std::min(kEach, size_t(args.num_outputs));
  sample->resize(2 * each);
  const size_t bytes = each * sizeof(float);
  if (Error error = CopyOut(args.out, sample->data(), bytes, stream)) return error;
  if (Error error = CopyOut(args.out + all - each, sample->data() + each, bytes, stream)) {
    return error;
  }
  return Wait(stream);
}

bool IsSameResult(const std::vector<float>& want, const std::vector<float>& got) {
  constexpr float kTolerance = 1e-2f;
  float largest = 0, difference = 0;
  for (size_t i = 0; i < want.size(); ++i) {
    if (!std::isfinite(want[i]) || !std::isfinite(got[i])) return false;
    largest = std::max(largest, std::abs(want[i]));
    difference = std::max(difference, std::abs(want[i] - got[i]));
  }
  return want.size() == got.size() && difference <= kTolerance * largest;
}

}  // namespace baton::kernels::cuda
