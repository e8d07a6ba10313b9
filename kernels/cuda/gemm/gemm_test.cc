#include "kernels/cuda/gemm/gemm.h"

#include "kernels/cuda/testing/device_array.h"
#include "kernels/cuda/testing/harness.h"
#include "kernels/testing/fixtures.h"

namespace baton::kernels::cuda {
namespace {

using kernels::testing::Encode;
using kernels::testing::MatrixOf;
using kernels::testing::Random;
using kernels::testing::RelativeError;
using kernels::testing::RoundedTo;
using kernels::testing::SameBits;
using testing::DeviceArray;
using testing::ExpectRuns;
using testing::InEveryOrder;

struct Problem {
  int32_t tokens, outputs, inputs;
  DType dtype = DType::kBF16;
  bool has_bias = false, is_added = false;
};

// x, W, bias and what is there before, and what the kernel and the reference make of them.
class World {
 public:
  World(const Problem& problem, uint64_t seed) : problem_(problem), random_(seed) {
    x_ = RoundedTo(random_.Floats(size_t(problem.tokens) * size_t(problem.inputs)), problem.dtype);
    w_ = RoundedTo(random_.Floats(size_t(problem.outputs) * size_t(problem.inputs)), problem.dtype);
    bias_ = random_.Floats(size_t(problem.outputs));
    before_ = random_.Floats(size_t(problem.tokens) * size_t(problem.outputs));
  }

  // Of rows [first, first + count) of x alone.
  std::vector<float> Got(int32_t first, int32_t count) {
    const auto rows = [&](const std::vector<float>& all, int32_t columns) {
      const auto begin = all.begin() + int64_t{first} * columns;
      return std::vector<float>(begin, begin + int64_t{count} * columns);
    };
    DeviceArray<std::byte> x(Encode(rows(x_, problem_.inputs), problem_.dtype));
    DeviceArray<std::byte> w(Encode(w_, problem_.dtype));
    DeviceArray<float> bias(bias_), out(rows(before_, problem_.outputs));
    ExpectRuns(GemmArgs{.x = x.data(),
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
    const auto bytes = Encode(w_, DType::kF32);
    const HostMatrix host = MatrixOf(bytes, DType::kF32, problem_.outputs, problem_.inputs);
    std::vector<float> out = before_;
    reference->Gemm(x_.data(), *reference->LoadMatrix({&host, 1}, DType::kF32),
                    problem_.has_bias ? bias_.data() : nullptr, problem_.tokens,
                    problem_.is_added ? GemmOutput::kAdd : GemmOutput::kStore, out.data());
    return out;
  }

 private:
  const Problem problem_;
  Random random_;
  std::vector<float> x_, w_, bias_, before_;
};

// Tensor cores keep fewer bits while they add.
constexpr double ToleranceOf(DType dtype) { return dtype == DType::kF32 ? 1e-6 : 1e-5; }

TEST(CudaGemmTest, EqualsTheReference) {
  InEveryOrder([] {
    for (const DType dtype : {DType::kBF16, DType::kF32}) {
      // Every tile; whole, and with something left over in each direction.
      for (const Problem& problem :
           {Problem{1, 32, 64, dtype}, Problem{5, 37, 200, dtype, true},
            Problem{16, 96, 520, dtype, true, true}, Problem{17, 70, 40, dtype, false, true},
            Problem{64, 64, 256, dtype}, Problem{67, 131, 72, dtype, true},
            Problem{128, 128, 8, dtype, true, true}}) {
        World world(problem, 1);
        EXPECT_LT(RelativeError(world.Got(0, problem.tokens), world.Want()), ToleranceOf(dtype))
            << problem.tokens << " x " << problem.outputs << " x " << problem.inputs;
      }
    }
  });
}

TEST(CudaGemmTest, ARowHasTheSameBitsInAnyBatch) {
  for (const DType dtype : {DType::kBF16, DType::kF32}) {
    World world({.tokens = 70, .outputs = 33, .inputs = 328, .dtype = dtype}, 2);
    const std::vector<float> all = world.Got(0, 70);
    for (const auto& [first, count] : {std::pair{0, 1}, {3, 16}, {40, 30}, {69, 1}}) {
      const auto begin = all.begin() + int64_t{first} * 33;
      EXPECT_TRUE(
          SameBits(world.Got(first, count), std::vector<float>(begin, begin + int64_t{count} * 33)))
          << count << " rows from " << first;
    }
  }
}

}  // namespace
}  // namespace baton::kernels::cuda
