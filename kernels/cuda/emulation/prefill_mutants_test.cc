#include <gtest/gtest.h>

#include "kernels/cuda/attention/paged_prefill_world.h"
#include "kernels/cuda/emulation/grid.h"
#include "kernels/cuda/emulation/mutant_outcome.h"

namespace baton::kernels::cuda {

// What mutants.cmake makes of Launch(): one mistake each.
#define BATON_PREFILL_MUTANT(name) \
  Error name(const PagedPrefillArgs& args, const PagedPrefillPlan& plan, Stream stream)
BATON_PREFILL_MUTANT(PrefillWithoutBarrierBeforeTile);
BATON_PREFILL_MUTANT(PrefillWithoutBarrierAfterTile);
BATON_PREFILL_MUTANT(PrefillWithoutWaiting);
BATON_PREFILL_MUTANT(PrefillWithCopiesLeft);
BATON_PREFILL_MUTANT(PrefillWithTheFuture);
BATON_PREFILL_MUTANT(PrefillWithWindowTooLong);
BATON_PREFILL_MUTANT(PrefillWithoutEdgeOfMask);
BATON_PREFILL_MUTANT(PrefillWithoutZeros);
BATON_PREFILL_MUTANT(PrefillWithoutRescaling);
BATON_PREFILL_MUTANT(PrefillWithKeysUnswizzled);
BATON_PREFILL_MUTANT(PrefillWithValuesUnswizzled);
BATON_PREFILL_MUTANT(PrefillWithoutScales);

namespace {

using emulation::TakeViolations;
using emulation::ViolationKind;
using kernels::testing::RelativeError;
using testing::Outcome;
using testing::PrefillWorld;

using PrefillLauncher = Error (*)(const PagedPrefillArgs&, const PagedPrefillPlan&, Stream);

// Rows that see four tiles, and rows that see part of the first.
Outcome Prefill(PrefillLauncher launch, uint64_t order, int32_t window = 0,
                DType kv = DType::kBF16) {
  emulation::SetOrder(order);
  PrefillWorld world({.num_q_heads = 2, .num_kv_heads = 1, .window = window, .kv_dtype = kv},
                     {240, 20}, 9);
  const std::vector<testing::PrefillChunk> chunks = {{0, 210, 240}, {1, 0, 20}};
  const PagedPrefillArgs args = world.Args(chunks);
  EXPECT_EQ(launch(args, Choose(args, kSmallestDevice), {}), std::nullopt);
  Outcome outcome = {.violations = TakeViolations()};
  outcome.error = RelativeError(world.Result(), world.Want(chunks));
  return outcome;
}

TEST(CudaPrefillMutantsTest, WithoutAMistakeNothingIsFound) {
  for (const uint64_t order : {0, 1, 2, 3}) {
    const Outcome outcome = Prefill(Launch, order, 100);
    EXPECT_EQ(emulation::Describe(outcome.violations), "");
    EXPECT_LT(outcome.error, 4e-3);
  }
}

TEST(CudaPrefillMutantsTest, MissingBarriersAndWaitsAreFoundInEveryOrder) {
  for (const uint64_t order : {0, 1, 2}) {
    for (const PrefillLauncher launch :
         {PrefillWithoutBarrierBeforeTile, PrefillWithoutBarrierAfterTile, PrefillWithoutWaiting}) {
      EXPECT_TRUE(Prefill(launch, order).Has(ViolationKind::kRace)) << "order " << order;
    }
    EXPECT_TRUE(Prefill(PrefillWithCopiesLeft, order).Has(ViolationKind::kResources));
    EXPECT_TRUE(Prefill(PrefillWithoutZeros, order).Has(ViolationKind::kUninitialised));
  }
}

TEST(CudaPrefillMutantsTest, SoAreThoseOverAQuantizedCache) {
  for (const uint64_t order : {0, 1, 2}) {
    EXPECT_EQ(emulation::Describe(Prefill(Launch, order, 100, DType::kInt8).violations), "");
    for (const PrefillLauncher launch :
         {PrefillWithoutBarrierBeforeTile, PrefillWithoutBarrierAfterTile, PrefillWithoutWaiting}) {
      EXPECT_TRUE(Prefill(launch, order, 0, DType::kInt8).Has(ViolationKind::kRace)) << order;
    }
    const Outcome without_scales = Prefill(PrefillWithoutScales, order, 0, DType::kInt8);
    EXPECT_GT(without_scales.error, 1e-1);
  }
}

TEST(CudaPrefillMutantsTest, WrongMasksAndSwizzlesDifferFromTheReference) {
  EXPECT_GT(Prefill(PrefillWithTheFuture, 0).error, 1e-2);
  EXPECT_GT(Prefill(PrefillWithWindowTooLong, 0, 100).error, 1e-2);
  EXPECT_GT(Prefill(PrefillWithoutEdgeOfMask, 0).error, 1e-2);
  EXPECT_GT(Prefill(PrefillWithoutRescaling, 0).error, 1e-2);
  EXPECT_GT(Prefill(PrefillWithKeysUnswizzled, 0).error, 1e-1);
  EXPECT_GT(Prefill(PrefillWithValuesUnswizzled, 0).error, 1e-1);
}

}  // namespace
}  // namespace baton::kernels::cuda
