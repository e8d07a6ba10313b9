#include "kernels/cuda/kv/block_copy.h"

#include <cstring>

#include "kernels/cuda/testing/device_array.h"
#include "kernels/cuda/testing/harness.h"
#include "kernels/cuda/testing/kv_pool.h"

namespace baton::kernels::cuda {
namespace {

using kernels::testing::Random;
using testing::DeviceArray;
using testing::ExpectRuns;
using testing::InEveryOrder;
using testing::KvPool;
using Direction = KvBlockCopyArgs::Direction;

constexpr KvView kGeometry = {.dtype = DType::kBF16,
                              .num_layers = 3,
                              .num_blocks = 6,
                              .block_tokens = 16,
                              .num_kv_heads = 4,
                              .head_dim = 96};

// The heads of the range, piece by piece, as block_copy.h draws the staging memory.
std::vector<std::byte> Staged(const KvView& kv, const std::vector<int32_t>& blocks,
                              const KvBlockCopyArgs& args) {
  std::vector<std::byte> staged;
  for (int32_t layer = 0; layer < args.num_layers; ++layer) {
    for (const int32_t block : blocks) {
      for (int32_t part = 0; part < 2; ++part) {
        const std::byte* from = kv.piece(args.first_layer + layer, block) +
                                size_t(part * kv.num_kv_heads + args.first_head) * kv.head_bytes();
        staged.insert(staged.end(), from, from + size_t(args.num_heads) * kv.head_bytes());
      }
    }
  }
  return staged;
}

KvBlockCopyArgs ArgsFor(KvPool& pool, DeviceArray<int32_t>& blocks, int32_t first_head,
                        int32_t num_heads) {
  return {.kv = pool.device(),
          .first_layer = 1,
          .num_layers = 2,
          .blocks = blocks.data(),
          .num_blocks = int32_t(blocks.size()),
          .first_head = first_head,
          .num_heads = num_heads};
}

TEST(CudaKvBlockCopyTest, GathersAnyRangeOfHeads) {
  Random random(1);
  KvPool pool(kGeometry);
  pool.Fill(random);
  const std::vector<int32_t> blocks = {5, 0, 3};
  DeviceArray<int32_t> device_blocks(blocks);
  InEveryOrder([&] {
    for (const auto& [first, count] : {std::pair{0, 4}, {0, 1}, {1, 2}, {3, 1}}) {
      KvBlockCopyArgs args = ArgsFor(pool, device_blocks, first, count);
      DeviceArray<std::byte> staging(KvStagingBytes(args));
      args.staging = staging.data();
      ExpectRuns(args);
      EXPECT_EQ(staging.ToHost(), Staged(pool.host(), blocks, args)) << first << ", " << count;
    }
  });
}

// Two pools of half the heads each, filled from one pool of all heads and put together again: what
// workers of tensor-parallel degree 1 and 2 do.
TEST(CudaKvBlockCopyTest, ShardsCutOutAndPutTogetherAreTheSameBytes) {
  Random random(2);
  KvPool whole(kGeometry), again(kGeometry);
  whole.Fill(random);
  DeviceArray<int32_t> all(std::vector<int32_t>{0, 1, 2, 3, 4, 5});
  DeviceArray<int32_t> elsewhere(std::vector<int32_t>{3, 5, 1, 0, 4, 2});
  for (const int32_t rank : {0, 1}) {
    KvView half = kGeometry;
    half.num_kv_heads = 2;
    KvPool shard(half);
    KvBlockCopyArgs cut = ArgsFor(whole, all, 2 * rank, 2);
    cut.first_layer = 0, cut.num_layers = 3;
    DeviceArray<std::byte> staging(KvStagingBytes(cut));
    cut.staging = staging.data();
    ExpectRuns(cut);
    KvBlockCopyArgs fill = cut;
    fill.direction = Direction::kScatter;
    fill.kv = shard.device(), fill.blocks = elsewhere.data(), fill.first_head = 0;
    ExpectRuns(fill);
    KvBlockCopyArgs take = fill;
    take.direction = Direction::kGather;
    DeviceArray<std::byte> staging_again(KvStagingBytes(take));
    take.staging = staging_again.data();
    ExpectRuns(take);
    KvBlockCopyArgs put = cut;
    put.direction = Direction::kScatter;
    put.kv = again.device(), put.staging = staging_again.data();
    ExpectRuns(put);
  }
  EXPECT_EQ(again.DeviceBytesNow(), whole.host_bytes());
}

TEST(CudaKvBlockCopyTest, AScatterLeavesOtherHeadsLayersAndBlocksAlone) {
  Random random(3);
  KvPool from(kGeometry), to(kGeometry);
  from.Fill(random);
  to.Fill(random);
  const std::vector<int32_t> blocks = {4, 2};
  DeviceArray<int32_t> device_blocks(blocks);
  KvBlockCopyArgs args = ArgsFor(from, device_blocks, 1, 2);
  DeviceArray<std::byte> staging(KvStagingBytes(args));
  args.staging = staging.data();
  ExpectRuns(args);
  args.direction = Direction::kScatter;
  args.kv = to.device();
  ExpectRuns(args);
  std::vector<std::byte> want = to.host_bytes();
  for (int32_t layer : {1, 2}) {
    for (int32_t block : blocks) {
      for (size_t part : {0u, 1u}) {
        const size_t at = kGeometry.offset(layer, block) + (part * 4 + 1) * kGeometry.head_bytes();
        std::memcpy(want.data() + at, from.host_bytes().data() + at, 2 * kGeometry.head_bytes());
      }
    }
  }
  EXPECT_EQ(to.DeviceBytesNow(), want);
}

}  // namespace
}  // namespace baton::kernels::cuda
