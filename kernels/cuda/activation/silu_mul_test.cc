#include "kernels/cuda/activation/silu_mul.h"

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

std::vector<float> Multiply(const std::vector<float>& gate_up, int32_t tokens, DType dtype) {
  const size_t outputs = gate_up.size() / 2;
  DeviceArray<float> device(gate_up);
  DeviceArray<std::byte> out(outputs * BytesOf(dtype));
  ExpectRuns(SiluMulArgs{.gate_up = device.data(),
                         .out = out.data(),
                         .out_dtype = dtype,
                         .num_tokens = tokens,
                         .intermediate = int32_t(outputs / size_t(tokens))});
  return Decode(out.ToHost().data(), dtype, outputs);
}

TEST(CudaSiluMulTest, EqualsTheReference) {
  InEveryOrder([] {
    Random random(1);
    for (const int32_t intermediate : {8, 40, 4864}) {
      for (const DType dtype : {DType::kF32, DType::kBF16}) {
        const int32_t tokens = random.Int(1, 4);
        const auto gate_up = random.Floats(size_t(tokens) * 2 * size_t(intermediate), 4);
        std::vector<std::byte> want(gate_up.size() / 2 * BytesOf(dtype));
        MakeReferenceBackend()->SiluMul(gate_up.data(), tokens, intermediate, dtype, want.data());
        EXPECT_LT(RelativeError(Multiply(gate_up, tokens, dtype),
                                Decode(want.data(), dtype, gate_up.size() / 2)),
                  dtype == DType::kF32 ? 1e-6 : 1e-3)
            << "intermediate " << intermediate;
      }
    }
  });
}

TEST(CudaSiluMulTest, FarNegativeGatesGiveZeroAndFarPositiveOnesThemselves) {
  std::vector<float> gate_up(16, 2);
  for (size_t i = 0; i < 8; ++i) gate_up[i] = i < 4 ? -200 : 200;
  EXPECT_EQ(Multiply(gate_up, 1, DType::kF32),
            std::vector<float>({0, 0, 0, 0, 400, 400, 400, 400}));
}

}  // namespace
}  // namespace baton::kernels::cuda
