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
#include "kernels/cuda/primitives/phase_barrier.cuh"
#include "kernels/cuda/primitives/swizzle.cuh"
#include "kernels/cuda/primitives/warpgroup.cuh"
#include "kernels/cuda/sampling/mass.cuh"
#include "kernels/cuda/sampling/philox.cuh"
#include "kernels/cuda/testing/device_array.h"
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

// As the engines' manuals draw it: the 16-byte chunks of row r of eight change places by r.
TEST(CudaPrimitivesTest, ABoxArrivesInSwizzledRowsWithZerosPastTheEnd) {
  constexpr uint32_t kRows = 11, kColumns = 72;
  testing::DeviceArray<uint16_t> matrix([] {
    std::vector<uint16_t> elements(kRows * kColumns);
    for (size_t i = 0; i < elements.size(); ++i) elements[i] = uint16_t(i + 1);
    return elements;
  }());
  const BoxSource from = {.base = matrix.data(),
                          .rows = kRows,
                          .columns = kColumns,
                          .row_bytes = kColumns * 2,
                          .box_rows = 8,
                          .box_columns = 64};
  RunClean({.threads = 32, .shared_bytes = 3200}, [&] {
    SharedArena arena;
    arena.AlignForSwizzle();
    const Shared<Bf16> box = arena.Take<Bf16>(8 * 64);
    const Shared<uint64_t> barrier = arena.Take<uint64_t>(1);
    if (ThreadIndex() == 0) {
      MakeBarrier(barrier, 0, 1);
      PublishBarriers();
    }
    SyncBlock();
    if (ThreadIndex() == 0) {
      ArriveExpecting(barrier, 0, 8 * 128);
      CopyBoxAsync(from, 16, 4, box, 0, barrier, 0);
    }
    WaitPhase(barrier, 0, 0);
    for (uint32_t i = ThreadIndex(); i < 8 * 64; i += 32) {
      const uint32_t row = i / 64, column = i % 64;
      const bool is_there = 4 + row < kRows && 16 + column < kColumns;
      const uint32_t place = row * 64 + ((column / 8) ^ row) * 8 + column % 8;
      const Bf16 element = box[place];
      EXPECT_EQ(element.bits, is_there ? (4 + row) * kColumns + 16 + column + 1 : 0);
    }
  });
}

// B both ways round, against plain loops: rows of 64 bytes along K, and rows of 128 bytes along N
// whose second panel is elsewhere.
TEST(CudaPrimitivesTest, AWarpgroupMultiplies) {
  std::mt19937 random(5);
  const auto element = [&] { return float(int(random() % 17) - 8); };  // exact in bf16
  static float a[64][16], b[16][128], d[64][128];
  for (auto& row : a)
    for (float& x : row) x = element();
  for (auto& row : b)
    for (float& x : row) x = element();
  for (auto& row : d)
    for (float& x : row) x = element();
  RunClean({.threads = 128, .shared_bytes = 24 << 10}, [] {
    SharedArena arena;
    arena.AlignForSwizzle();
    const Shared<Bf16> a_rows = arena.Take<Bf16>(64 * 32);   // 64 bytes each, the upper half unused
    const Shared<Bf16> b_rows = arena.Take<Bf16>(128 * 32);  // the same
    const Shared<Bf16> b_columns = arena.Take<Bf16>(2 * 16 * 64);
    for (uint32_t i = ThreadIndex(); i < 128 * 16; i += 128) {
      const uint32_t n = i / 16, k = i % 16,
                     in_row = n % 8 * 32 + (((k / 8) ^ (n / 2 % 4)) * 8) + k % 8;
      if (n < 64) a_rows[n / 8 * 256 + in_row] = ToBf16(a[n][k]);
      b_rows[n / 8 * 256 + in_row] = ToBf16(b[k][n]);
      b_columns[n / 64 * 1024 + k * 64 + ((n % 64 / 8) ^ (k % 8)) * 8 + n % 8] = ToBf16(b[k][n]);
    }
    FenceForEngines();
    SyncBlock();
    const uint32_t row = WarpIndex() * 16 + LaneIndex() / 4, column = LaneIndex() % 4 * 2;
    float stored[16][4], added[16][4];
    uint32_t in_registers[4];
    for (uint32_t n = 0; n < 16; ++n) {
      for (uint32_t i = 0; i < 4; ++i) added[n][i] = d[row + i / 2 * 8][8 * n + column + i % 2];
    }
    for (uint32_t i = 0; i < 4; ++i) {
      const float* at = &a[row + i % 2 * 8][column + i / 2 * 8];
      in_registers[i] = PackBf16(at[0], at[1]);
    }
    BeginProducts(stored);
    MultiplyGroup(stored, SharedRows{AddressOf(a_rows, 0), 64}.AlongInputs(0),
                  SharedRows{AddressOf(b_rows, 0), 64}.AlongInputs(0), false);
    MultiplyGroupByRows(added, in_registers,
                        SharedRows{AddressOf(b_columns, 0), 128}.AlongOutputs(0, 2048), true);
    CommitProducts();
    WaitProducts<0>(stored);
    for (uint32_t n = 0; n < 16; ++n) {
      for (uint32_t i = 0; i < 4; ++i) {
        const uint32_t r = row + i / 2 * 8, c = 8 * n + column + i % 2;
        float want = 0;
        for (uint32_t k = 0; k < 16; ++k) want += a[r][k] * b[k][c];
        EXPECT_EQ(stored[n][i], want);
        EXPECT_EQ(added[n][i], d[r][c] + want);
      }
    }
  });
}

}  // namespace
}  // namespace baton::kernels::cuda
