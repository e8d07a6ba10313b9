#include "kernels/cuda/gemm/gemm.h"

#include "kernels/cuda/gemm/gemm_world.h"
#include "kernels/cuda/testing/harness.h"

namespace baton::kernels::cuda {
namespace {

using kernels::testing::RelativeError;
using kernels::testing::SameBits;
using testing::ExpectRuns;
using testing::GemmProblem;
using testing::GemmWorld;
using testing::InEveryOrder;

std::vector<float> Got(GemmWorld& world, int32_t first, int32_t count) {
  return world.Got(first, count, [](const GemmArgs& args) { ExpectRuns(args); });
}

// Tensor cores keep fewer bits while they add.
constexpr double ToleranceOf(DType dtype) { return dtype == DType::kF32 ? 1e-6 : 1e-5; }

TEST(CudaGemmTest, EqualsTheReference) {
  InEveryOrder([] {
    for (const DType dtype : {DType::kBF16, DType::kF32}) {
      // Every tile; whole, and with something left over in each direction.
      for (const GemmProblem& problem :
           {GemmProblem{1, 32, 64, dtype}, GemmProblem{5, 37, 200, dtype, true},
            GemmProblem{16, 96, 520, dtype, true, true},
            GemmProblem{17, 70, 40, dtype, false, true}, GemmProblem{64, 64, 256, dtype},
            GemmProblem{67, 131, 72, dtype, true}, GemmProblem{128, 128, 8, dtype, true, true}}) {
        GemmWorld world(problem, 1);
        EXPECT_LT(RelativeError(Got(world, 0, problem.tokens), world.Want()), ToleranceOf(dtype))
            << problem.tokens << " x " << problem.outputs << " x " << problem.inputs;
      }
    }
  });
}

TEST(CudaGemmTest, ARowHasTheSameBitsInAnyBatch) {
  for (const DType dtype : {DType::kBF16, DType::kF32}) {
    GemmWorld world({.tokens = 70, .outputs = 33, .inputs = 328, .dtype = dtype}, 2);
    const std::vector<float> all = Got(world, 0, 70);
    for (const auto& [first, count] : {std::pair{0, 1}, {3, 16}, {40, 30}, {69, 1}}) {
      const auto begin = all.begin() + int64_t{first} * 33;
      EXPECT_TRUE(SameBits(Got(world, first, count),
                           std::vector<float>(begin, begin + int64_t{count} * 33)))
          << count << " rows from " << first;
    }
  }
}

TEST(CudaGemmTest, OnWarpgroupsEqualsTheReference) {
  const auto device = testing::WarpgroupDevice();
  if (!device) GTEST_SKIP() << "this GPU has no warpgroups";
  InEveryOrder([&] {
    // More stages than the ring has places; ends inside a tile, and inside a stage.
    for (const GemmProblem& problem :
         {GemmProblem{65, 8, 328, DType::kBF16, true}, GemmProblem{130, 137, 64, DType::kBF16},
          GemmProblem{128, 128, 72, DType::kBF16, true, true}}) {
      GemmWorld world(problem, 1);
      const auto got = world.Got(0, problem.tokens, [&](const GemmArgs& args) {
        EXPECT_EQ(Choose(args, *device).tile, GemmTile::kWarpgroup);
        ExpectRuns(args, *device);
      });
      EXPECT_LT(RelativeError(got, world.Want()), ToleranceOf(DType::kBF16))
          << problem.tokens << " x " << problem.outputs << " x " << problem.inputs;
    }
  });
}

}  // namespace
}  // namespace baton::kernels::cuda
