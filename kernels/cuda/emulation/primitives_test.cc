#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <set>

#include "kernels/convert.h"
#include "kernels/cuda/emulation/grid.h"
#include "kernels/cuda/emulation/violations.h"
#include "kernels/cuda/primitives/async_copy.cuh"
#include "kernels/cuda/primitives/bf16.cuh"
#include "kernels/cuda/primitives/block_reduce.cuh"
#include "kernels/cuda/primitives/mma.cuh"
#include "kernels/cuda/primitives/swizzle.cuh"
#include "kernels/cuda/sampling/mass.cuh"
#include "kernels/cuda/sampling/philox.cuh"
#include "kernels/sampling.h"
#include "kernels/sampling/mass.h"

namespace baton::kernels::cuda {
namespace {

void RunClean(const LaunchShape& shape, const std::function<void()>& kernel) {
  for (const uint64_t order : {0, 1, 2}) {
    emulation::SetOrder(order);
    emulation::RunGrid("test", shape, kernel);
    EXPECT_EQ(emulation::Describe(emulation::TakeViolations()), "");
  }
}

TEST(CudaPrimitivesTest, ShufflesAndVotes) {
  RunClean({.threads = 64}, [] {
    const uint32_t lane = LaneIndex();
    EXPECT_EQ(ShuffleXor(100 + lane, 5), 100 + (lane ^ 5));
    EXPECT_EQ(ShuffleFrom(uint64_t{lane} << 40, 31 - lane), uint64_t{31 - lane} << 40);
    EXPECT_EQ(Ballot(lane % 3 == 0), 0x49249249u);
    EXPECT_EQ(WarpSum(float(lane)), 496);
    EXPECT_EQ(WarpMax(lane == 9 ? 2.0f : -float(lane)), 2);
  });
}

TEST(CudaPrimitivesTest, ABlocksSumIsTheSameInEveryThread) {
  RunClean({.threads = 128, .shared_bytes = 16}, [] {
    SharedArena arena;
    EXPECT_EQ(BlockSum(float(ThreadIndex()), arena.Take<float>(4)), 127 * 64);
  });
}

TEST(CudaPrimitivesTest, PairsOfBf16AreRoundedToNearestEvenLowFirst) {
  const uint32_t pair = PackBf16(1.00390625f, -3.0f);  // the first lies halfway
  EXPECT_EQ(LowToFloat(pair), 1.0f);
  EXPECT_EQ(HighToFloat(pair), -3.0f);
  EXPECT_EQ(pair & 0xffff, Bf16FromF32(1.00390625f));
}

// A and B by their elements, D by its elements: the lanes' fragments are filled as mma.cuh draws
// them.
TEST(CudaPrimitivesTest, AWarpMultipliesTiles) {
  std::mt19937 random(3);
  const auto element = [&] { return float(int(random() % 17) - 8); };  // exact in bf16
  float a[16][16], b[16][8], d[16][8];
  for (auto& row : a) {
    for (float& v : row) v = element();
  }
  for (auto& row : b) {
    for (float& v : row) v = element();
  }
  for (auto& row : d) {
    for (float& v : row) v = element();
  }
  RunClean({.threads = 32}, [&] {
    const uint32_t row = LaneIndex() / 4, pair = LaneIndex() % 4 * 2;
    const uint32_t fa[4] = {PackBf16(a[row][pair], a[row][pair + 1]),
                            PackBf16(a[row + 8][pair], a[row + 8][pair + 1]),
                            PackBf16(a[row][pair + 8], a[row][pair + 9]),
                            PackBf16(a[row + 8][pair + 8], a[row + 8][pair + 9])};
    const uint32_t fb[2] = {PackBf16(b[pair][row], b[pair + 1][row]),
                            PackBf16(b[pair + 8][row], b[pair + 9][row])};
    float fd[4] = {d[row][pair], d[row][pair + 1], d[row + 8][pair], d[row + 8][pair + 1]};
    MultiplyTile(fd, fa, fb);
    for (uint32_t i = 0; i < 4; ++i) {
      const uint32_t r = row + i / 2 * 8, c = pair + i % 2;
      float want = d[r][c];
      for (uint32_t k = 0; k < 16; ++k) want += a[r][k] * b[k][c];
      EXPECT_EQ(fd[i], want);
    }
  });
}

TEST(CudaPrimitivesTest, TilesAreLoadedStraightAndTransposed) {
  RunClean({.threads = 32, .shared_bytes = 512}, [] {
    SharedArena arena;
    const Shared<Bf16> matrices = arena.Take<Bf16>(256);  // [4][8][8], element = its index
    for (uint32_t i = LaneIndex(); i < 256; i += 32) matrices[i] = ToBf16(float(i));
    SyncBlock();
    uint32_t straight[4], transposed[4];
    LoadTiles(straight, matrices, LaneIndex() * 8);
    LoadTilesTransposed(transposed, matrices, LaneIndex() * 8);
    const uint32_t row = LaneIndex() / 4, pair = LaneIndex() % 4 * 2;
    for (uint32_t m = 0; m < 4; ++m) {
      EXPECT_EQ(LowToFloat(straight[m]), float(m * 64 + row * 8 + pair));
      EXPECT_EQ(HighToFloat(straight[m]), float(m * 64 + row * 8 + pair + 1));
      EXPECT_EQ(LowToFloat(transposed[m]), float(m * 64 + pair * 8 + row));
      EXPECT_EQ(HighToFloat(transposed[m]), float(m * 64 + (pair + 1) * 8 + row));
    }
  });
}

TEST(CudaPrimitivesTest, ACopyOfNothingIsZerosAndReadsNothing) {
  emulation::Allocation memory(16 * 4);  // the last chunk is never written
  for (int i = 0; i < 12; ++i) reinterpret_cast<uint32_t*>(memory.data())[i] = uint32_t(i + 1);
  memory.MarkWritten(0, 48);
  RunClean({.threads = 32, .shared_bytes = 32 * 16}, [&] {
    SharedArena arena;
    const Shared<uint32_t> to = arena.Take<uint32_t>(32 * 4);
    const Global<const uint32_t> from(reinterpret_cast<const uint32_t*>(memory.data()));
    const uint32_t lane = LaneIndex(), chunk = lane % 4;
    CopyAsync16OrZero(to, lane * 4, from, chunk * 4, chunk < 3);
    CommitCopies();
    WaitCopies<0>();
    for (uint32_t i = 0; i < 4; ++i) {
      EXPECT_EQ(uint32_t(to[lane * 4 + i]), chunk < 3 ? chunk * 4 + i + 1 : 0);
    }
  });
}

// Every chunk has a place of its own, and any chunk of eight rows in a row lies in eight sets of
// banks.
template <uint32_t kChunks>
void ExpectGoodSwizzle() {
  std::set<uint32_t> places;
  for (uint32_t row = 0; row < 64; ++row) {
    for (uint32_t chunk = 0; chunk < kChunks; ++chunk) {
      places.insert(Swizzled<kChunks>(row, chunk));
      std::set<uint32_t> banks;
      for (uint32_t r = row / 8 * 8; r < row / 8 * 8 + 8; ++r) {
        banks.insert(Swizzled<kChunks>(r, chunk) % 8);
      }
      EXPECT_EQ(banks.size(), 8u) << kChunks << " chunks, row " << row << ", chunk " << chunk;
    }
  }
  EXPECT_EQ(places.size(), 64 * kChunks);
  EXPECT_EQ(*places.rbegin(), 64 * kChunks - 1);
}

TEST(CudaPrimitivesTest, SwizzledRowsHaveNoBankConflicts) {
  ExpectGoodSwizzle<8>();
  ExpectGoodSwizzle<12>();
  ExpectGoodSwizzle<16>();
  ExpectGoodSwizzle<24>();
  ExpectGoodSwizzle<32>();
  ExpectGoodSwizzle<64>();
}

TEST(CudaSamplingArithmeticTest, MassesSharesAndDrawsHaveTheHostsBits) {
  for (float x = -29; x <= 0; x += 0.00037f) {
    ASSERT_EQ(MassOf(x), kernels::MassOf(x)) << x;
  }
  EXPECT_EQ(MassOf(0), kernels::MassOf(0));
  EXPECT_EQ(MassOf(std::nanf("")), 0u);
  std::mt19937_64 random(5);
  for (int i = 0; i < 1000; ++i) {
    const uint64_t seed = random(), draw = random();
    const float share = UniformAt(seed, draw);
    ASSERT_EQ(share, kernels::UniformAt(seed, draw));
    ASSERT_EQ(ShareOf(seed >> 7, share), kernels::ShareOf(seed >> 7, share));
  }
}

}  // namespace
}  // namespace baton::kernels::cuda
