#include <gtest/gtest.h>

#include "kernels/cuda/emulation/grid.h"
#include "kernels/cuda/emulation/mutant_outcome.h"
#include "kernels/cuda/gemm/gemm_world.h"

namespace baton::kernels::cuda {

// What mutants.cmake makes of Launch(): one mistake each.
#define BATON_GEMM_MUTANT(name) \
  Error name(const GemmArgs& args, const GemmPlan& plan, Stream stream)
BATON_GEMM_MUTANT(GemmWithoutBarrier);
BATON_GEMM_MUTANT(GemmWithoutWaiting);
BATON_GEMM_MUTANT(GemmWithStageTooFew);
BATON_GEMM_MUTANT(GemmWithRowTooMany);
BATON_GEMM_MUTANT(GemmWithInputsLeft);
BATON_GEMM_MUTANT(GemmWithInputsUnswizzled);
BATON_GEMM_MUTANT(GemmWithoutBarrierBeforeTiles);
BATON_GEMM_MUTANT(GemmWithoutBarrierAfterTiles);

namespace {

using emulation::ViolationKind;
using testing::GemmWorld;
using testing::Outcome;

using GemmLauncher = Error (*)(const GemmArgs&, const GemmPlan&, Stream);

// More stages than the ring holds, and something left over in every direction.
Outcome Multiply(GemmLauncher launch, uint64_t order, DType dtype = DType::kBF16) {
  emulation::SetOrder(order);
  GemmWorld world({.tokens = 19, .outputs = 35, .inputs = 424, .dtype = dtype}, 3);
  Outcome outcome;
  const auto got = world.Got(0, 19, [&](const GemmArgs& args) {
    EXPECT_EQ(launch(args, Choose(args, kSmallestDevice), {}), std::nullopt);
    outcome.violations = emulation::TakeViolations();
  });
  outcome.error = kernels::testing::RelativeError(got, world.Want());
  return outcome;
}

TEST(CudaGemmMutantsTest, WithoutAMistakeNothingIsFound) {
  for (const uint64_t order : {0, 1, 2, 3}) {
    for (const DType dtype : {DType::kBF16, DType::kF32}) {
      const Outcome outcome = Multiply(Launch, order, dtype);
      EXPECT_EQ(emulation::Describe(outcome.violations), "");
      EXPECT_LT(outcome.error, 1e-6);
    }
  }
}

TEST(CudaGemmMutantsTest, MissingBarriersAndWaitsAreFoundInEveryOrder) {
  for (const uint64_t order : {0, 1, 2}) {
    for (const GemmLauncher launch :
         {GemmWithoutBarrier, GemmWithoutWaiting, GemmWithStageTooFew}) {
      EXPECT_TRUE(Multiply(launch, order).Has(ViolationKind::kRace)) << "order " << order;
    }
    for (const GemmLauncher launch :
         {GemmWithoutBarrierBeforeTiles, GemmWithoutBarrierAfterTiles}) {
      EXPECT_TRUE(Multiply(launch, order, DType::kF32).Has(ViolationKind::kRace));
    }
  }
}

TEST(CudaGemmMutantsTest, WrongEdgesAndSwizzlesAreFound) {
  EXPECT_TRUE(Multiply(GemmWithRowTooMany, 0).Has(ViolationKind::kOutOfBounds));
  EXPECT_GT(Multiply(GemmWithInputsLeft, 0).error, 1e-2);
  EXPECT_GT(Multiply(GemmWithInputsUnswizzled, 0).error, 1e-1);
}

}  // namespace
}  // namespace baton::kernels::cuda
