#include <gtest/gtest.h>

#include <cmath>

#include "kernels/activation_row.h"
#include "kernels/backend.h"
#include "kernels/cpu/isa_ops.h"
#include "kernels/testing/fixtures.h"

namespace baton::kernels {
namespace {

using testing::AvailableIsas;
using testing::Random;

// One weight on one backend, and the product of any rows with it.
class Product {
 public:
  Product(Backend& backend, const std::vector<float>& weight, int64_t n, int64_t k, DType dtype)
      : backend_(backend), n_(n), k_(k), dtype_(dtype) {
    const DType stored = IsQuantizedWeight(dtype) ? DType::kF32 : dtype;
    const std::vector<std::byte> host = testing::Encode(weight, stored, 1);
    matrix_ = backend.LoadMatrix({{testing::MatrixOf(host, stored, n, k, 1)}}, dtype);
  }

  std::vector<float> Of(const std::vector<float>& x, const float* bias = nullptr,
                        GemmOutput output = GemmOutput::kStore, float start = 0) {
    const int32_t tokens = int32_t(x.size() / size_t(k_));
    const auto in = testing::EncodeRows(x, backend_.activation_dtype(dtype_), k_);
    std::vector<float> out(size_t(tokens * n_), start);
    backend_.Gemm(in.data(), *matrix_, bias, tokens, output, out.data());
    return out;
  }

 private:
  Backend& backend_;
  int64_t n_, k_;
  DType dtype_;
  std::unique_ptr<Matrix> matrix_;
};

struct Shape {
  int64_t n, k;
  int32_t tokens;
};

const Shape kShapes[] = {{1, 1, 1},     {3, 5, 2},     {32, 64, 12},   {33, 63, 13},
                         {70, 129, 7},  {96, 896, 25}, {100, 451, 40}, {160, 1000, 3},
                         {64, 2050, 1}, {31, 2, 100}};

class GemmTest : public ::testing::TestWithParam<std::tuple<std::string, DType>> {};

TEST_P(GemmTest, AgreesWithTheReferenceOnOddShapes) {
  const auto& [isa, dtype] = GetParam();
  auto backend = MakeCpuBackend({.num_threads = 2, .isa = isa});
  auto reference = MakeReferenceBackend();
  Random random(1);
  for (const Shape& s : kShapes) {
    const auto weight = testing::RoundedTo(random.Floats(size_t(s.n * s.k)), dtype);
    const auto x = testing::RoundedTo(random.Floats(size_t(s.tokens) * size_t(s.k)), dtype);
    const auto bias = random.Floats(size_t(s.n));
    Product ours(*backend, weight, s.n, s.k, dtype), theirs(*reference, weight, s.n, s.k, dtype);
    for (GemmOutput output : {GemmOutput::kStore, GemmOutput::kAdd}) {
      const auto got = ours.Of(x, bias.data(), output, 0.5f);
      const auto want = theirs.Of(x, bias.data(), output, 0.5f);
      EXPECT_LT(testing::RelativeError(got, want), 2e-6) << s.n << "x" << s.k << " T " << s.tokens;
      if (IsQuantizedWeight(dtype)) {
        EXPECT_TRUE(testing::SameBits(got, want)) << s.n << "x" << s.k << " T " << s.tokens;
      }
    }
  }
}

TEST_P(GemmTest, ARowHasTheSameBitsInEveryBatchAndPlaceAndThreadCount) {
  const auto& [isa, dtype] = GetParam();
  Random random(2);
  for (const Shape& s : {Shape{70, 451, 0}, Shape{224, 1100, 0}}) {
    const auto weight = random.Floats(size_t(s.n * s.k));
    const auto bias = random.Floats(size_t(s.n));
    const auto row = random.Floats(size_t(s.k));
    std::vector<float> alone;
    for (int threads : {1, 2, 3}) {
      auto backend = MakeCpuBackend({.num_threads = threads, .isa = isa});
      Product product(*backend, weight, s.n, s.k, dtype);
      if (alone.empty()) alone = product.Of(row, bias.data());
      for (int tokens : {1, 2, 3, 5, 6, 7, 8, 11, 12, 13, 16, 24, 31, 64, 100, 300}) {
        auto x = random.Floats(size_t(tokens) * size_t(s.k));
        const int place = random.Int(0, tokens - 1);
        std::copy(row.begin(), row.end(), x.begin() + place * s.k);
        const auto out = product.Of(x, bias.data());
        const std::vector<float> got(out.begin() + place * s.n, out.begin() + (place + 1) * s.n);
        ASSERT_TRUE(testing::SameBits(got, alone)) << "T " << tokens << " threads " << threads;
      }
    }
  }
}

TEST_P(GemmTest, ABrokenRowDoesNotReachItsNeighbours) {
  const auto& [isa, dtype] = GetParam();
  auto backend = MakeCpuBackend({.num_threads = 2, .isa = isa});
  Random random(3);
  constexpr int64_t kN = 40, kK = 33;
  Product product(*backend, random.Floats(kN * kK), kN, kK, dtype);
  auto x = random.Floats(kK * 9);
  const auto before = product.Of(x);
  std::fill_n(x.begin() + 4 * kK, kK, std::nanf(""));
  const auto after = product.Of(x);
  for (int t = 0; t < 9; ++t) {
    for (int n = 0; n < kN; ++n) {
      const float got = after[size_t(t * kN + n)];
      EXPECT_TRUE(t == 4 ? std::isnan(got) : got == before[size_t(t * kN + n)]) << t;
    }
  }
}

TEST_P(GemmTest, StackedPartsOfAnyDtypeGiveTheRowsOfEach) {
  const auto& [isa, dtype] = GetParam();
  auto backend = MakeCpuBackend({.num_threads = 2, .isa = isa});
  Random random(4);
  constexpr int64_t kK = 37;
  const auto a = testing::RoundedTo(random.Floats(5 * kK), DType::kBF16);
  const auto b = testing::RoundedTo(random.Floats(41 * kK), DType::kBF16);
  const auto a_bytes = testing::Encode(a, DType::kBF16, 3);
  const auto b_bytes = testing::Encode(b, DType::kF32, 5);
  const std::vector<HostMatrix> parts = {testing::MatrixOf(a_bytes, DType::kBF16, 5, kK, 3),
                                         testing::MatrixOf(b_bytes, DType::kF32, 41, kK, 5)};
  const auto stacked = backend->LoadMatrix(parts, dtype);
  EXPECT_EQ(stacked->rows(), 46);
  EXPECT_EQ(stacked->cols(), kK);
  std::vector<int32_t> ids = {0, 4, 5, 31, 32, 45, 0};
  std::vector<float> out(ids.size() * kK), twins(ids.size() * kK);
  backend->Embed(*stacked, ids.data(), nullptr, int32_t(ids.size()), out.data());
  auto reference = MakeReferenceBackend();
  reference->Embed(*reference->LoadMatrix(parts, dtype), ids.data(), nullptr, int32_t(ids.size()),
                   twins.data());
  EXPECT_TRUE(testing::SameBits(out, twins));
  for (size_t i = 0; i < ids.size(); ++i) {
    const float* want = ids[i] < 5 ? a.data() + ids[i] * kK : b.data() + (ids[i] - 5) * kK;
    // Within half a step of elements that are below 4, or what int4 cuts off.
    const double near = dtype == DType::kInt8 ? 0.02 : IsQuantizedWeight(dtype) ? 0.5 : 0;
    for (int64_t k = 0; k < kK; ++k) EXPECT_NEAR(out[i * kK + size_t(k)], want[k], near);
  }
}

class Int8GemmTest : public ::testing::TestWithParam<std::string> {};

TEST_P(Int8GemmTest, TheLargestSumsOfTheWidestWeightFit) {
  auto backend = MakeCpuBackend({.num_threads = 1, .isa = GetParam()});
  for (const float sign : {1.0f, -1.0f}) {
    Product product(*backend, std::vector<float>(kInt8ColsMax, sign * 127), 1, kInt8ColsMax,
                    DType::kInt8);
    const auto y = product.Of(std::vector<float>(2 * kInt8ColsMax, 127));
    for (const float got : y) EXPECT_EQ(got, sign * 127 * 127 * kInt8ColsMax);
  }
}

TEST_P(Int8GemmTest, RowsAreRoundedAsByTheirTwin) {
  const IsaOps* ops = FindIsa(GetParam().c_str());
  Random random(5);
  for (const int32_t width : {1, 3, 4, 15, 16, 17, 64, 333, 4864}) {
    const auto rows_of = [&](float special) {
      auto x = random.Floats(size_t(width), 2);
      x[size_t(width) / 2] = special;
      return x;
    };
    for (const float special :
         {0.3f, -7.5f, 1e-38f, 3e38f, INFINITY, -INFINITY, std::nanf(""), -0.0f}) {
      const auto x = rows_of(special);
      std::vector<std::byte> want(ActivationRowBytes(DType::kInt8, width));
      std::vector<std::byte> got(want.size(), std::byte(0x55));
      StoreInt8Row(x.data(), width, want.data());
      ops->quantize_row(x.data(), width, got.data());
      EXPECT_TRUE(testing::SameBits(got, want)) << width << " with " << special;
      int32_t sum = 0;
      for (int32_t i = 0; i < width; ++i) sum += int8_t(want[size_t(i)]);
      EXPECT_EQ(ops->sum_int8(got.data(), width), sum);
    }
  }
  const std::vector<float> tiny(7, 1e-38f);
  std::vector<std::byte> row(ActivationRowBytes(DType::kInt8, 7), std::byte(1));
  ops->quantize_row(tiny.data(), 7, row.data());
  EXPECT_TRUE(testing::SameBits(row, std::vector<std::byte>(row.size())));
}

INSTANTIATE_TEST_SUITE_P(Isas, Int8GemmTest, ::testing::ValuesIn(AvailableIsas()),
                         [](const auto& info) { return info.param; });

std::string NameOfParam(const ::testing::TestParamInfo<GemmTest::ParamType>& info) {
  std::string name = std::get<0>(info.param) + "_" + std::string(NameOf(std::get<1>(info.param)));
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

INSTANTIATE_TEST_SUITE_P(Isas, GemmTest,
                         ::testing::Combine(::testing::ValuesIn(AvailableIsas()),
                                            ::testing::Values(DType::kF32, DType::kBF16,
                                                              DType::kInt8, DType::kInt4G32,
                                                              DType::kInt4G64, DType::kInt4G128)),
                         NameOfParam);

}  // namespace
}  // namespace baton::kernels
