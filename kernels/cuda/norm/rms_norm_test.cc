#include "kernels/cuda/norm/rms_norm.h"

#include "kernels/cuda/testing/device_array.h"
#include "kernels/cuda/testing/harness.h"
#include "kernels/testing/fixtures.h"

namespace baton::kernels::cuda {
namespace {

using kernels::testing::Decode;
using kernels::testing::Random;
using kernels::testing::RelativeError;
using testing::DeviceArray;
using testing::ExpectRuns;
using testing::InEveryOrder;

struct Result {
  std::vector<float> x, out;
};

Result Normalise(const std::vector<float>& x, const std::vector<float>& add,
                 const std::vector<float>& weight, DType dtype) {
  DeviceArray<float> device_x(x), device_add(add), device_weight(weight);
  DeviceArray<std::byte> out(x.size() * BytesOf(dtype));
  ExpectRuns(RmsNormArgs{.x = device_x.data(),
                         .add = add.empty() ? nullptr : device_add.data(),
                         .weight = device_weight.data(),
                         .out = out.data(),
                         .out_dtype = dtype,
                         .epsilon = 1e-5f,
                         .num_tokens = int32_t(x.size() / weight.size()),
                         .hidden = int32_t(weight.size())});
  return {device_x.ToHost(), Decode(out.ToHost().data(), dtype, x.size())};
}

TEST(CudaRmsNormTest, EqualsTheReference) {
  InEveryOrder([] {
    Random random(1);
    for (const int32_t hidden : {8, 64, 896, 1000, 4096, 16384}) {
      for (const DType dtype : {DType::kF32, DType::kBF16}) {
        const int32_t tokens = random.Int(1, 3);
        const auto x = random.Floats(size_t(tokens) * size_t(hidden));
        const auto weight = random.Floats(size_t(hidden));
        std::vector<std::byte> want(x.size() * BytesOf(dtype));
        MakeReferenceBackend()->RmsNorm(x.data(), weight.data(), 1e-5f, tokens, hidden, dtype,
                                        want.data());
        const auto got = Normalise(x, {}, weight, dtype);
        EXPECT_LT(RelativeError(got.out, Decode(want.data(), dtype, x.size())),
                  dtype == DType::kF32 ? 1e-6 : 1e-3)
            << "hidden " << hidden;
        EXPECT_EQ(got.x, x);
      }
    }
  });
}

TEST(CudaRmsNormTest, AddsToTheResidualStreamFirst) {
  InEveryOrder([] {
    Random random(2);
    const auto x = random.Floats(5 * 192), add = random.Floats(5 * 192);
    const auto weight = random.Floats(192);
    std::vector<float> sum(x.size());
    for (size_t i = 0; i < x.size(); ++i) sum[i] = x[i] + add[i];
    const Result fused = Normalise(x, add, weight, DType::kF32);
    EXPECT_EQ(fused.x, sum);
    EXPECT_EQ(fused.out, Normalise(sum, {}, weight, DType::kF32).out);
  });
}

TEST(CudaRmsNormTest, ARowHasTheSameBitsAloneAndInABatch) {
  Random random(3);
  const auto x = random.Floats(7 * 896), weight = random.Floats(896);
  const auto all = Normalise(x, {}, weight, DType::kF32).out;
  for (size_t row = 0; row < 7; ++row) {
    const auto begin = x.begin() + int64_t(row) * 896;
    const auto alone = Normalise({begin, begin + 896}, {}, weight, DType::kF32).out;
    EXPECT_TRUE(std::equal(alone.begin(), alone.end(), all.begin() + int64_t(row) * 896));
  }
}

}  // namespace
}  // namespace baton::kernels::cuda
