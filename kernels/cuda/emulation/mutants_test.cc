#include <gtest/gtest.h>

#include "kernels/cuda/attention/paged_decode_world.h"
#include "kernels/cuda/emulation/grid.h"
#include "kernels/cuda/emulation/mutant_outcome.h"
#include "kernels/cuda/kv/block_checksum.h"
#include "kernels/cuda/kv/block_copy.h"
#include "kernels/cuda/testing/kv_pool.h"

namespace baton::kernels::cuda {

// What mutants.cmake makes of Launch(): one mistake each.
#define BATON_DECODE_MUTANT(name) \
  Error name(const PagedDecodeArgs& args, const PagedDecodePlan& plan, Stream stream)
BATON_DECODE_MUTANT(LaunchWithoutBarrierBeforeTile);
BATON_DECODE_MUTANT(LaunchWithoutBarrierAfterTile);
BATON_DECODE_MUTANT(LaunchWithoutBarrierBeforeSums);
BATON_DECODE_MUTANT(LaunchWithoutWaiting);
BATON_DECODE_MUTANT(LaunchWithBarrierOfSome);
BATON_DECODE_MUTANT(LaunchWithValueTooMany);
BATON_DECODE_MUTANT(LaunchWithTokenTooMany);
BATON_DECODE_MUTANT(LaunchWithWindowTooLong);
BATON_DECODE_MUTANT(LaunchWithKeysUnswizzled);
Error LaunchWithBlocksOffByOne(const KvBlockCopyArgs& args, const LaunchShape& shape, Stream);
Error LaunchWithoutBarrierBetweenRounds(const BlockChecksumArgs& args, const LaunchShape& shape,
                                        Stream);

namespace {

using emulation::TakeViolations;
using emulation::ViolationKind;
using kernels::testing::RelativeError;
using testing::DecodeShape;
using testing::DecodeWorld;
using testing::Outcome;

using DecodeLauncher = Error (*)(const PagedDecodeArgs&, const PagedDecodePlan&, Stream);

// Contexts of three tiles and of one that end inside a tile: every barrier has something to guard.
Outcome Decode(DecodeLauncher launch, uint64_t order, int32_t window = 0) {
  emulation::SetOrder(order);
  DecodeShape shape = {
      .num_q_heads = 4, .num_kv_heads = 1, .head_dim = 128, .kv_dtype = DType::kBF16};
  shape.window = window;
  DecodeWorld world(shape, {300, 44}, 9);
  const PagedDecodeArgs args = world.Args();
  EXPECT_EQ(launch(args, Choose(args, kSmallestDevice), {}), std::nullopt);
  Outcome outcome = {.violations = TakeViolations()};
  outcome.error = RelativeError(world.Result(), world.Want());
  return outcome;
}

// Also the orders that happen to give the right result.
void ExpectFound(DecodeLauncher launch, ViolationKind kind) {
  for (const uint64_t order : {0, 1, 2, 3}) {
    const Outcome outcome = Decode(launch, order);
    EXPECT_TRUE(outcome.Has(kind)) << "order " << order << ", found:\n"
                                   << emulation::Describe(outcome.violations);
  }
}

TEST(CudaMutantsTest, WithoutAMistakeNothingIsFound) {
  for (const uint64_t order : {0, 1, 2, 3}) {
    const Outcome outcome = Decode(Launch, order, 100);
    EXPECT_EQ(emulation::Describe(outcome.violations), "");
    EXPECT_LT(outcome.error, 1e-5);
  }
}

TEST(CudaMutantsTest, AMissingBarrierIsARaceInEveryOrder) {
  ExpectFound(LaunchWithoutBarrierBeforeTile, ViolationKind::kRace);
  ExpectFound(LaunchWithoutBarrierAfterTile, ViolationKind::kRace);
  ExpectFound(LaunchWithoutBarrierBeforeSums, ViolationKind::kRace);
}

TEST(CudaMutantsTest, ACopyThatIsNotWaitedForIsARace) {
  ExpectFound(LaunchWithoutWaiting, ViolationKind::kRace);
}

TEST(CudaMutantsTest, ABarrierThatSomeThreadsPassByIsADivergence) {
  ExpectFound(LaunchWithBarrierOfSome, ViolationKind::kDivergence);
}

TEST(CudaMutantsTest, AMaskOneTokenTooLongReadsWhatNobodyWrote) {
  ExpectFound(LaunchWithValueTooMany, ViolationKind::kUninitialised);
  ExpectFound(LaunchWithTokenTooMany, ViolationKind::kUninitialised);
}

TEST(CudaMutantsTest, AWindowOneTokenTooLongDiffersFromTheReference) {
  for (const uint64_t order : {0, 1, 2}) {
    EXPECT_GT(Decode(LaunchWithWindowTooLong, order, 100).error, 1e-3);
  }
}

TEST(CudaMutantsTest, AWrongSwizzleDiffersFromTheReference) {
  for (const uint64_t order : {0, 1, 2}) {
    EXPECT_GT(Decode(LaunchWithKeysUnswizzled, order).error, 1e-2);
  }
}

TEST(CudaMutantsTest, ABlockBeyondThePoolIsOutOfBounds) {
  testing::KvPool pool(
      {.num_layers = 1, .num_blocks = 2, .block_tokens = 16, .num_kv_heads = 1, .head_dim = 64});
  testing::DeviceArray<int32_t> blocks(std::vector<int32_t>{1});
  KvBlockCopyArgs args = {.kv = pool.device(),
                          .num_layers = 1,
                          .blocks = blocks.data(),
                          .num_blocks = 1,
                          .num_heads = 1};
  testing::DeviceArray<std::byte> staging(KvStagingBytes(args));
  args.staging = staging.data();
  EXPECT_EQ(LaunchWithBlocksOffByOne(args, Choose(args, kSmallestDevice), {}), std::nullopt);
  EXPECT_TRUE((Outcome{TakeViolations()}.Has(ViolationKind::kOutOfBounds)));
}

TEST(CudaMutantsTest, AMissingBarrierBetweenTwoRoundsOfALoopIsARace) {
  std::vector<std::byte> bytes(130 << 10, std::byte{1});
  testing::DeviceArray<std::byte> data(bytes);
  testing::DeviceArray<uint64_t> offsets(std::vector<uint64_t>{0}), sums(1);
  const BlockChecksumArgs args = {.base = data.data(),
                                  .offsets = offsets.data(),
                                  .num_pieces = 1,
                                  .piece_bytes = bytes.size(),
                                  .sums = sums.data()};
  for (const uint64_t order : {0, 1, 2, 3}) {
    emulation::SetOrder(order);
    EXPECT_EQ(LaunchWithoutBarrierBetweenRounds(args, Choose(args, kSmallestDevice), {}),
              std::nullopt);
    EXPECT_TRUE((Outcome{TakeViolations()}.Has(ViolationKind::kRace))) << "order " << order;
  }
}

}  // namespace
}  // namespace baton::kernels::cuda
