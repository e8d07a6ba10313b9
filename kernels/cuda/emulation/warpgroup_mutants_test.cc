#include <gtest/gtest.h>

#include <cmath>

#include "kernels/cuda/attention/paged_prefill_world.h"
#include "kernels/cuda/emulation/grid.h"
#include "kernels/cuda/emulation/mutant_outcome.h"
#include "kernels/cuda/gemm/gemm_world.h"
#include "kernels/cuda/testing/harness.h"

namespace baton::kernels::cuda {

// What mutants.cmake makes of LaunchOnWarpgroups(): one mistake each.
#define BATON_GEMM_MUTANT(name) Error name(const GemmArgs& args, const LaunchShape& shape, Stream)
BATON_GEMM_MUTANT(GroupGemmWithoutBarrier);
BATON_GEMM_MUTANT(GroupGemmWithoutWaitingForCopies);
BATON_GEMM_MUTANT(GroupGemmWithoutWaitingForRoom);
BATON_GEMM_MUTANT(GroupGemmFreeTooSoon);
BATON_GEMM_MUTANT(GroupGemmWithBytesTooFew);
BATON_GEMM_MUTANT(GroupGemmWithBytesTooMany);
BATON_GEMM_MUTANT(GroupGemmWithWrongSwizzle);
BATON_GEMM_MUTANT(GroupGemmWithInputTwice);
#define BATON_PREFILL_MUTANT(name) \
  Error name(const PagedPrefillArgs& args, const LaunchShape& shape, Stream)
BATON_PREFILL_MUTANT(GroupPrefillWithoutFence);
BATON_PREFILL_MUTANT(GroupPrefillWithoutZeros);
BATON_PREFILL_MUTANT(GroupPrefillWithoutFenceOfZeros);
BATON_PREFILL_MUTANT(GroupPrefillWithoutWaitingForValues);
BATON_PREFILL_MUTANT(GroupPrefillFreeTooSoon);
BATON_PREFILL_MUTANT(GroupPrefillWithQueriesUnswizzled);
BATON_PREFILL_MUTANT(GroupPrefillWithPanelsTooNear);
BATON_PREFILL_MUTANT(GroupPrefillWithTheFuture);
BATON_PREFILL_MUTANT(GroupPrefillWithoutRescaling);

namespace {

using emulation::TakeViolations;
using emulation::ViolationKind;
using kernels::testing::RelativeError;
using testing::GemmWorld;
using testing::Outcome;
using testing::PrefillWorld;
using testing::WarpgroupDevice;

using GemmLauncher = Error (*)(const GemmArgs&, const LaunchShape&, Stream);
using PrefillLauncher = Error (*)(const PagedPrefillArgs&, const LaunchShape&, Stream);

// A result that is not a number is as wrong as any.
double ErrorOf(const std::vector<float>& got, const std::vector<float>& want) {
  const double error = RelativeError(got, want);
  return std::isnan(error) ? INFINITY : error;
}

// Six stages, in four places.
Outcome Gemm(GemmLauncher launch, uint64_t order) {
  emulation::SetOrder(order);
  GemmWorld world({.tokens = 70, .outputs = 20, .inputs = 328}, 9);
  const auto got = world.Got(0, 70, [&](const GemmArgs& args) {
    EXPECT_EQ(launch(args, Choose(args, *WarpgroupDevice()).shape, {}), std::nullopt);
  });
  return {.violations = TakeViolations(), .error = ErrorOf(got, world.Want())};
}

// Rows that see five tiles, in two places, and rows that see part of the first.
Outcome Prefill(PrefillLauncher launch, uint64_t order) {
  emulation::SetOrder(order);
  PrefillWorld world({.num_q_heads = 2, .num_kv_heads = 1, .head_dim = 128}, {530, 20}, 9);
  const std::vector<testing::PrefillChunk> chunks = {{0, 500, 530}, {1, 0, 20}};
  const PagedPrefillArgs args = world.Args(chunks);
  EXPECT_EQ(launch(args, Choose(args, *WarpgroupDevice()).shape, {}), std::nullopt);
  Outcome outcome = {.violations = TakeViolations()};
  outcome.error = ErrorOf(world.Result(), world.Want(chunks));
  return outcome;
}

TEST(CudaWarpgroupMutantsTest, WithoutAMistakeNothingIsFound) {
  for (const uint64_t order : {0, 1, 2, 3}) {
    const Outcome gemm = Gemm(LaunchOnWarpgroups, order);
    EXPECT_EQ(emulation::Describe(gemm.violations), "");
    EXPECT_LT(gemm.error, 1e-5);
    const Outcome prefill = Prefill(LaunchOnWarpgroups, order);
    EXPECT_EQ(emulation::Describe(prefill.violations), "");
    EXPECT_LT(prefill.error, 4e-3);
  }
}

TEST(CudaWarpgroupMutantsTest, MissingWaitsAreRacesInEveryOrder) {
  for (const uint64_t order : {0, 1, 2, 3}) {
    for (const GemmLauncher launch : {GroupGemmWithoutWaitingForCopies, GroupGemmFreeTooSoon}) {
      EXPECT_TRUE(Gemm(launch, order).Has(ViolationKind::kRace)) << "order " << order;
    }
    EXPECT_TRUE(Prefill(GroupPrefillWithoutWaitingForValues, order).Has(ViolationKind::kRace))
        << "order " << order;
    // Copies that overtake each other: whoever waits for a phase misses it.
    EXPECT_FALSE(Gemm(GroupGemmWithoutWaitingForRoom, order).violations.empty());
    const Outcome unmade = Gemm(GroupGemmWithoutBarrier, order);
    EXPECT_TRUE(unmade.Has(ViolationKind::kRace) || unmade.Has(ViolationKind::kUninitialised));
  }
}

TEST(CudaWarpgroupMutantsTest, WritesThatAreNotFencedForProductsAreRaces) {
  EXPECT_TRUE(Prefill(GroupPrefillWithoutFence, 0).Has(ViolationKind::kRace));
  EXPECT_TRUE(Prefill(GroupPrefillWithoutFenceOfZeros, 0).Has(ViolationKind::kRace));
}

TEST(CudaWarpgroupMutantsTest, BytesThatDoNotComeAreWaitedForAndThoseNotAnnouncedAreTold) {
  EXPECT_TRUE(Gemm(GroupGemmWithBytesTooMany, 0).Has(ViolationKind::kDivergence));
  EXPECT_TRUE(Gemm(GroupGemmWithBytesTooFew, 0).Has(ViolationKind::kResources));
}

TEST(CudaWarpgroupMutantsTest, WrongSwizzlesStridesAndMasksDifferFromTheReference) {
  EXPECT_GT(Gemm(GroupGemmWithWrongSwizzle, 0).error, 1e-1);
  EXPECT_GT(Gemm(GroupGemmWithInputTwice, 0).error, 1e-1);
  EXPECT_GT(Prefill(GroupPrefillWithQueriesUnswizzled, 0).error, 1e-1);
  EXPECT_GT(Prefill(GroupPrefillWithPanelsTooNear, 0).error, 1e-1);
  EXPECT_GT(Prefill(GroupPrefillWithTheFuture, 0).error, 1e-2);
  EXPECT_GT(Prefill(GroupPrefillWithoutRescaling, 0).error, 1e-2);
  EXPECT_GT(Prefill(GroupPrefillFreeTooSoon, 0).error, 1e-1);
  EXPECT_GT(Prefill(GroupPrefillWithoutZeros, 0).error, 1e-1);
}

}  // namespace
}  // namespace baton::kernels::cuda
