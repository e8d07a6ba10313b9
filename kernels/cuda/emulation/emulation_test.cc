#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "kernels/cuda/emulation/device_memory.h"
#include "kernels/cuda/emulation/grid.h"
#include "kernels/cuda/emulation/violations.h"
#include "kernels/cuda/primitives/async_copy.cuh"
#include "kernels/cuda/primitives/atomics.cuh"
#include "kernels/cuda/primitives/memory.cuh"
#include "kernels/cuda/primitives/sync.cuh"
#include "kernels/cuda/primitives/warp.cuh"

namespace baton::kernels::cuda {
namespace {

using emulation::Allocation;
using emulation::RunGrid;
using emulation::TakeViolations;
using emulation::Violation;
using emulation::ViolationKind;

constexpr LaunchShape kOneBlock = {.threads = 64, .shared_bytes = 1024};

// The kinds of what a kernel did wrong, in every order the same.
std::set<ViolationKind> Kinds(const LaunchShape& shape, const std::function<void()>& kernel) {
  std::set<ViolationKind> kinds;
  for (const uint64_t order : {0, 1, 2, 3}) {
    emulation::SetOrder(order);
    RunGrid("test", shape, kernel);
    std::set<ViolationKind> found;
    for (const Violation& v : TakeViolations()) found.insert(v.kind);
    EXPECT_TRUE(order == 0 || found == kinds) << "order " << order;
    kinds = found;
  }
  return kinds;
}

using Set = std::set<ViolationKind>;

// Reads and does nothing with it.
void Look(float) {}

TEST(CudaEmulationTest, EveryThreadOfEveryBlockRunsOnce) {
  std::multiset<uint32_t> seen;
  EXPECT_EQ(
      Kinds({.grid_x = 2, .grid_y = 3, .grid_z = 2, .threads = 32},
            [&] { seen.insert(((BlockZ() * 3 + BlockY()) * 2 + BlockX()) * 32 + ThreadIndex()); }),
      Set{});
  ASSERT_EQ(seen.size(), 4 * 12 * 32u);  // in four orders
  for (uint32_t i = 0; i < 12 * 32; ++i) EXPECT_EQ(seen.count(i), 4u);
}

TEST(CudaEmulationTest, ABarrierOrdersTheBlock) {
  EXPECT_EQ(Kinds(kOneBlock,
                  [] {
                    SharedArena arena;
                    const Shared<uint32_t> values = arena.Take<uint32_t>(64);
                    for (uint32_t round = 0; round < 3; ++round) {
                      values[ThreadIndex()] = ThreadIndex() + round;
                      SyncBlock();
                      EXPECT_EQ(uint32_t(values[63 - ThreadIndex()]), 63 - ThreadIndex() + round);
                      SyncBlock();
                    }
                  }),
            Set{});
}

TEST(CudaEmulationTest, ReadingWhatAnotherThreadWroteIsARace) {
  EXPECT_EQ(Kinds(kOneBlock,
                  [] {
                    SharedArena arena;
                    const Shared<float> value = arena.Take<float>(2);
                    if (ThreadIndex() == 0) value[0] = 1;
                    if (ThreadIndex() == 0) value[1] = 1;
                    SyncBlock();
                    if (ThreadIndex() == 40) value[0] = 2;
                    if (ThreadIndex() == 3) Look(value[0]);
                  }),
            Set{ViolationKind::kRace});
}

TEST(CudaEmulationTest, WritingTheSamePlaceTwiceIsARace) {
  EXPECT_EQ(Kinds(kOneBlock,
                  [] {
                    SharedArena arena;
                    const Shared<float> value = arena.Take<float>(1);
                    value[0] = 1;
                  }),
            Set{ViolationKind::kRace});
}

TEST(CudaEmulationTest, AWarpsBarrierOrdersTheWarpAndNotTheBlock) {
  const auto exchange = [](uint32_t with) {
    SharedArena arena;
    const Shared<float> values = arena.Take<float>(64);
    values[ThreadIndex()] = 1;
    SyncWarp();
    Look(values[ThreadIndex() ^ with]);
  };
  EXPECT_EQ(Kinds(kOneBlock, [&] { exchange(5); }), Set{});
  const Set across = Kinds({.threads = 64, .shared_bytes = 1024}, [&] {
    SharedArena arena;
    const Shared<float> values = arena.Take<float>(64);
    values[ThreadIndex()] = 1;
    SyncBlock();
    SyncWarp();
    if (ThreadIndex() < 32) values[ThreadIndex()] = 2;
    SyncWarp();
    Look(values[ThreadIndex() ^ 32]);
  });
  EXPECT_EQ(across, Set{ViolationKind::kRace});
}

TEST(CudaEmulationTest, AShuffleOrdersNoMemory) {
  EXPECT_EQ(Kinds({.threads = 32, .shared_bytes = 1024},
                  [] {
                    SharedArena arena;
                    const Shared<float> values = arena.Take<float>(32);
                    values[ThreadIndex()] = 1;
                    ShuffleXor(1.0f, 1);
                    Look(values[ThreadIndex() ^ 1]);
                  }),
            Set{ViolationKind::kRace});
}

TEST(CudaEmulationTest, SharedMemoryIsEmptyWhenABlockBegins) {
  EXPECT_EQ(Kinds({.grid_x = 2, .threads = 32, .shared_bytes = 1024},
                  [] {
                    SharedArena arena;
                    const Shared<float> values = arena.Take<float>(64);
                    values[ThreadIndex()] = 1;
                    SyncBlock();
                    Look(values[ThreadIndex() + 32]);
                  }),
            Set{ViolationKind::kUninitialised});
}

TEST(CudaEmulationTest, BeyondASharedArrayIsOutOfBoundsEvenInsideTheMemory) {
  EXPECT_EQ(Kinds({.threads = 32, .shared_bytes = 1024},
                  [] {
                    SharedArena arena;
                    const Shared<float> values = arena.Take<float>(32);
                    const Shared<float> next = arena.Take<float>(32);
                    next[ThreadIndex()] = 0;
                    values[ThreadIndex() + 1] = 1;
                  }),
            Set{ViolationKind::kOutOfBounds});
}

TEST(CudaEmulationTest, MoreSharedMemoryThanTheLaunchHasIsFound) {
  EXPECT_EQ(Kinds({.threads = 32, .shared_bytes = 64}, [] { SharedArena().Take<float>(17); }),
            Set{ViolationKind::kResources});
}

TEST(CudaEmulationTest, DeviceMemoryIsChecked) {
  Allocation memory(64);
  float* data = reinterpret_cast<float*>(memory.data());
  const auto one_thread = [&](auto body) {
    return Kinds({.threads = 32}, [&] {
      if (ThreadIndex() == 0) body();
    });
  };
  EXPECT_EQ(one_thread([&] { Look(Global<float>{data}[3]); }), Set{ViolationKind::kUninitialised});
  EXPECT_EQ(one_thread([&] { Global<float>{data}[16] = 1; }), Set{ViolationKind::kOutOfBounds});
  EXPECT_EQ(one_thread([&] { Look(Global<float>{nullptr}[0]); }), Set{ViolationKind::kOutOfBounds});
  EXPECT_EQ(one_thread([&] { Global<float>{data}.Store16(1, Vec16()); }),
            Set{ViolationKind::kMisaligned});
  EXPECT_EQ(one_thread([&] {
              Global<float>{data}[3] = 2;
              EXPECT_EQ(float(Global<float>{data}[3]), 2);
            }),
            Set{});
}

TEST(CudaEmulationTest, BlocksOfALaunchAreNotOrdered) {
  Allocation memory(64);
  memory.MarkWritten(0, 64);
  uint32_t* data = reinterpret_cast<uint32_t*>(memory.data());
  data[0] = 0;
  EXPECT_EQ(Kinds({.grid_x = 2, .threads = 32},
                  [&] {
                    if (ThreadIndex() == 0) Global<uint32_t>{data}[1] = BlockX();
                  }),
            Set{ViolationKind::kRace});
  EXPECT_EQ(Kinds({.grid_x = 8, .threads = 32},
                  [&] { AtomicAdd(Global<uint32_t>{data}, 0, uint32_t{1}); }),
            Set{});
  EXPECT_EQ(data[0], 4 * 8 * 32u);  // in four orders
}

TEST(CudaEmulationTest, AtomicsOfABlockNeedNoBarrierBetweenThem) {
  const auto count = [](bool with_barrier) {
    SharedArena arena;
    const Shared<uint32_t> sum = arena.Take<uint32_t>(1);
    if (ThreadIndex() == 0) sum[0] = 0;
    SyncBlock();
    AtomicAdd(sum, 0, uint32_t{2});
    if (with_barrier) SyncBlock();
    const uint32_t total = sum[0];
    EXPECT_TRUE(!with_barrier || total == 128);
  };
  EXPECT_EQ(Kinds(kOneBlock, [&] { count(true); }), Set{});
  EXPECT_EQ(Kinds(kOneBlock, [&] { count(false); }), Set{ViolationKind::kRace});
}

TEST(CudaEmulationTest, ThreadsThatEndBeforeTheOthersBarrierAreFound) {
  EXPECT_EQ(Kinds(kOneBlock,
                  [] {
                    if (ThreadIndex() != 7) SyncBlock();
                  }),
            Set{ViolationKind::kDivergence});
}

TEST(CudaEmulationTest, LanesThatMeetForDifferentThingsAreFound) {
  EXPECT_EQ(Kinds({.threads = 32},
                  [] {
                    if (ThreadIndex() < 16) {
                      Ballot(true);
                    } else {
                      ShuffleXor(1u, 1);
                    }
                  }),
            Set{ViolationKind::kDivergence});
}

TEST(CudaEmulationTest, ACopyIsSeenByItsThreadWhenWaitedForAndByOthersAfterABarrier) {
  Allocation memory(512);
  memory.MarkWritten(0, 512);
  const Global<const float> from(reinterpret_cast<const float*>(memory.data()));
  const auto copy = [&](int wait, bool barrier, uint32_t look_at) {
    SharedArena arena;
    const Shared<float> to = arena.Take<float>(128);
    CopyAsync16(to, 4 * ThreadIndex(), from, 4 * ThreadIndex());
    CommitCopies();
    CommitCopies();  // an empty group
    if (wait == 1) WaitCopies<1>();
    if (barrier) SyncBlock();
    Look(to[4 * (ThreadIndex() ^ look_at)]);
    WaitCopies<0>();
  };
  const LaunchShape shape = {.threads = 32, .shared_bytes = 512};
  EXPECT_EQ(Kinds(shape, [&] { copy(1, false, 0); }), Set{});
  EXPECT_EQ(Kinds(shape, [&] { copy(1, true, 1); }), Set{});
  // A race, or nothing there yet, as the order will have it.
  for (const uint64_t order : {0, 1, 2, 3}) {
    emulation::SetOrder(order);
    RunGrid("test", shape, [&] { copy(1, false, 1); });
    EXPECT_NE(TakeViolations().size(), 0u) << "order " << order;
  }
  EXPECT_EQ(Kinds(shape, [&] { copy(2, true, 0); }), Set{ViolationKind::kRace});
}

TEST(CudaEmulationTest, CopiesThatNobodyWaitsForAreFound) {
  Allocation memory(16);
  memory.MarkWritten(0, 16);
  EXPECT_EQ(Kinds({.threads = 32, .shared_bytes = 16},
                  [&] {
                    SharedArena arena;
                    const Shared<float> to = arena.Take<float>(4);
                    const Global<const float> from(reinterpret_cast<const float*>(memory.data()));
                    if (ThreadIndex() == 0) CopyAsync16(to, 0, from, 0);
                  }),
            Set{ViolationKind::kResources});
}

}  // namespace
}  // namespace baton::kernels::cuda
