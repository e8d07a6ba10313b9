#include <gtest/gtest.h>

#include "kernels/cuda/emulation/grid.h"
#include "kernels/cuda/emulation/mutant_outcome.h"
#include "kernels/cuda/sampling/sample_tokens_world.h"

namespace baton::kernels::cuda {

// What mutants.cmake makes of Launch(): one mistake each.
#define BATON_SAMPLE_MUTANT(name) \
  Error name(const SampleTokensArgs& args, const LaunchShape& shape, Stream stream)
BATON_SAMPLE_MUTANT(SampleWithoutBarrierBeforeCount);
BATON_SAMPLE_MUTANT(SampleWithoutBarrierAfterCount);
BATON_SAMPLE_MUTANT(SampleWithoutBarrierAfterList);
BATON_SAMPLE_MUTANT(SampleWithBusyScratch);
BATON_SAMPLE_MUTANT(SampleWithWarpInParts);
BATON_SAMPLE_MUTANT(SampleWithoutPenalties);
BATON_SAMPLE_MUTANT(SampleWithTokenTooMany);
BATON_SAMPLE_MUTANT(SampleWithTiesReversed);

namespace {

using emulation::TakeViolations;
using emulation::ViolationKind;
using testing::Outcome;

using SampleLauncher = Error (*)(const SampleTokensArgs&, const LaunchShape&, Stream);

// Rows of equal logits, one of which only asks for min_p, and random ones; `error` is how many
// tokens are not the host's.
Outcome Sample(SampleLauncher launch, uint64_t order, int random_rows = 0) {
  constexpr int32_t kVocabulary = 600;
  emulation::SetOrder(order);
  kernels::testing::Random random(10);
  testing::SampleWorld world(kVocabulary);
  world.Add(std::vector<float>(kVocabulary, 1), {.args = {.min_p = 0.5f}});
  const uint64_t draws = random_rows > 0 ? 6 : 1;
  for (uint64_t draw = 0; draw < draws; ++draw) {  // top_p lies exactly between two tokens
    world.Add(std::vector<float>(kVocabulary, 1), {.args = {.top_p = 0.25f, .draw = draw}});
  }
  for (int i = 0; i < random_rows; ++i) world.AddRandom(random);
  const SampleTokensArgs args = world.Args();
  EXPECT_EQ(launch(args, Choose(args, kSmallestDevice), {}), std::nullopt);
  Outcome outcome = {.violations = TakeViolations()};
  const std::vector<int32_t> got = world.Result(), want = world.Want();
  for (size_t i = 0; i < got.size(); ++i) outcome.error += got[i] != want[i] ? 1 : 0;
  return outcome;
}

TEST(CudaSampleMutantsTest, WithoutAMistakeNothingIsFound) {
  for (const uint64_t order : {0, 1, 2, 3}) {
    const Outcome outcome = Sample(Launch, order, 12);
    EXPECT_EQ(emulation::Describe(outcome.violations), "");
    EXPECT_EQ(outcome.error, 0);
  }
}

TEST(CudaSampleMutantsTest, MissingBarriersAreFoundInEveryOrder) {
  for (const uint64_t order : {0, 1, 2, 3}) {
    for (const SampleLauncher launch :
         {SampleWithoutBarrierBeforeCount, SampleWithoutBarrierAfterCount,
          SampleWithoutBarrierAfterList, SampleWithBusyScratch}) {
      EXPECT_TRUE(Sample(launch, order).Has(ViolationKind::kRace)) << "order " << order;
    }
    EXPECT_TRUE(Sample(SampleWithWarpInParts, order).Has(ViolationKind::kDivergence));
  }
}

TEST(CudaSampleMutantsTest, WrongBoundariesDrawOtherTokensThanTheHost) {
  EXPECT_GT(Sample(SampleWithoutPenalties, 0, 12).error, 0);
  EXPECT_GT(Sample(SampleWithTokenTooMany, 0, 12).error, 0);
  EXPECT_GT(Sample(SampleWithTiesReversed, 0, 12).error, 0);
}

}  // namespace
}  // namespace baton::kernels::cuda
