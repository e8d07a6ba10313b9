#pragma once

#include <vector>

#include "kernels/cuda/gemm/gemm.h"
#include "kernels/cuda/testing/device_array.h"
#include "kernels/testing/fixtures.h"

namespace baton::kernels::cuda::testing {

struct GemmProblem {
  int32_t tokens, outputs, inputs;
  DType dtype = DType::kBF16;
  bool has_bias = false, is_added = false;
};

// x, W, bias and what is there before, and what the kernel and the reference make of them.
class GemmWorld {
 public:
  GemmWorld(const GemmProblem& problem, uint64_t seed) : problem_(problem), random_(seed) {
    x_ = kernels::testing::RoundedTo(
        random_.Floats(size_t(problem.tokens) * size_t(problem.inputs)), problem.dtype);
    w_ = kernels::testing::RoundedTo(
        random_.Floats(size_t(problem.outputs) * size_t(problem.inputs)), problem.dtype);
    bias_ = random_.Floats(size_t(problem.outputs));
    before_ = random_.Floats(size_t(problem.tokens) * size_t(problem.outputs));
  }

  // Of rows [first, first + count) of x alone; `run` launches.
  template <typename Run>
  std::vector<float> Got(int32_t first, int32_t count, Run run) {
    const auto rows = [&](const std::vector<float>& all, int32_t columns) {
      const auto begin = all.begin() + int64_t{first} * columns;
      return std::vector<float>(begin, begin + int64_t{count} * columns);
    };
    DeviceArray<std::byte> x(kernels::testing::Encode(rows(x_, problem_.inputs), problem_.dtype));
    DeviceArray<std::byte> w(kernels::testing::Encode(w_, problem_.dtype));
    DeviceArray<float> bias(bias_), out(rows(before_, problem_.outputs));
    run(GemmArgs{.x = x.data(),
                 .w = w.data(),
                 .dtype = problem_.dtype,
                 .bias = problem_.has_bias ? bias.data() : nullptr,
                 .out = out.data(),
                 .is_added = problem_.is_added,
                 .num_tokens = count,
                 .num_outputs = problem_.outputs,
                 .num_inputs = problem_.inputs});
    return out.ToHost();
  }

  std::vector<float> Want() {
    auto reference = MakeReferenceBackend();
    const auto bytes = kernels::testing::Encode(w_, DType::kF32);
    const HostMatrix host =
        kernels::testing::MatrixOf(bytes, DType::kF32, problem_.outputs, problem_.inputs);
    std::vector<float> out = before_;
    reference->Gemm(x_.data(), *reference->LoadMatrix({&host, 1}, DType::kF32),
                    problem_.has_bias ? bias_.data() : nullptr, problem_.tokens,
                    problem_.is_added ? GemmOutput::kAdd : GemmOutput::kStore, out.data());
    return out;
  }

 private:
  const GemmProblem problem_;
  kernels::testing::Random random_;
  std::vector<float> x_, w_, bias_, before_;
};

}  // namespace baton::kernels::cuda::testing
