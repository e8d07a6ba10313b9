#include "kernels/cuda/attention/paged_prefill.h"

#include "kernels/cuda/attention/paged_prefill_world.h"
#include "kernels/cuda/testing/harness.h"

namespace baton::kernels::cuda {
namespace {

using kernels::testing::RelativeError;
using testing::ExpectRuns;
using testing::InEveryOrder;
using testing::PrefillChunk;
using testing::PrefillWorld;

// On mma.sync, which every GPU has, and on warpgroups.
class CudaPagedPrefillTest : public ::testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
    const auto device = GetParam() ? testing::WarpgroupDevice() : testing::TestDevice();
    if (!device) GTEST_SKIP() << "this GPU has no warpgroups";
    device_ = *device;
    device_.has_warpgroups = GetParam();
  }
  std::vector<float> Got(PrefillWorld& world, const std::vector<PrefillChunk>& chunks) {
    const PagedPrefillArgs args = world.Args(chunks);
    EXPECT_EQ(Choose(args, device_).on_warpgroups, GetParam());
    ExpectRuns(args, device_);
    return world.Result();
  }

 private:
  DeviceTraits device_;
};
INSTANTIATE_TEST_SUITE_P(On, CudaPagedPrefillTest, ::testing::Bool(), [](const auto& info) {
  return std::string(info.param ? "Warpgroups" : "Warps");
});

// Weights are rounded to bf16 before they meet the values.
constexpr double kTolerance = 4e-3;

TEST_P(CudaPagedPrefillTest, EqualsTheReferenceForEveryHeadDim) {
  InEveryOrder([this] {
    for (const int32_t head_dim : {64, 96, 128, 256}) {
      for (const DType out : {DType::kF32, DType::kBF16}) {
        PrefillWorld world(
            {.num_q_heads = 4, .num_kv_heads = 2, .head_dim = head_dim, .out_dtype = out}, {41, 1},
            1);
        const std::vector<PrefillChunk> chunks = {{0, 0, 41}, {1, 0, 1}};
        EXPECT_LT(RelativeError(Got(world, chunks), world.Want(chunks)), kTolerance)
            << "head_dim " << head_dim;
      }
    }
  });
}

TEST_P(CudaPagedPrefillTest, EqualsTheReferenceForEveryGroupAndBlockSize) {
  InEveryOrder([this] {
    for (const auto& [q, kv, block] : {std::tuple{1, 1, 16}, {3, 1, 32}, {14, 2, 64}, {2, 2, 16}}) {
      PrefillWorld world({.num_q_heads = q, .num_kv_heads = kv, .block_tokens = block}, {70, 130},
                         2);
      const std::vector<PrefillChunk> chunks = {{1, 65, 130}, {0, 60, 70}, {0, 69, 70}};
      EXPECT_LT(RelativeError(Got(world, chunks), world.Want(chunks)), kTolerance)
          << q << " on " << kv;
    }
  });
}

TEST_P(CudaPagedPrefillTest, EqualsTheReferenceOverManyTilesOfEveryHeadDim) {
  InEveryOrder([this] {
    for (const int32_t head_dim : {96, 128, 256}) {
      PrefillWorld world({.num_kv_heads = 1, .head_dim = head_dim, .block_tokens = 32}, {200}, 5);
      const std::vector<PrefillChunk> chunks = {{0, 170, 200}};
      EXPECT_LT(RelativeError(Got(world, chunks), world.Want(chunks)), kTolerance) << head_dim;
    }
  });
}

TEST_P(CudaPagedPrefillTest, ALargerScoreInALaterTileRescalesWhatCameBefore) {
  // Scores of some hundreds: each row's weights lie on one token or a few, anywhere.
  PrefillWorld world({.num_q_heads = 2, .num_kv_heads = 1, .query_size = 300}, {300}, 6);
  const std::vector<PrefillChunk> chunks = {{0, 240, 300}};
  EXPECT_LT(RelativeError(Got(world, chunks), world.Want(chunks)), kTolerance);
}

TEST_P(CudaPagedPrefillTest, ASequenceWithoutQueriesWritesNothing) {
  PrefillWorld world({.num_q_heads = 2, .num_kv_heads = 1}, {70, 30}, 7);
  const std::vector<PrefillChunk> chunks = {{1, 20, 30}, {0, 70, 70}, {0, 0, 70}};
  EXPECT_LT(RelativeError(Got(world, chunks), world.Want(chunks)), kTolerance);
}

TEST_P(CudaPagedPrefillTest, EqualsTheReferenceForRaggedBatches) {
  kernels::testing::Random random(8);
  for (int round = 0; round < 6; ++round) {
    const int32_t kv_heads = random.Int(1, 2);
    PrefillWorld world({.num_q_heads = kv_heads * random.Int(1, 5),
                        .num_kv_heads = kv_heads,
                        .block_tokens = 16 << random.Int(0, 2),
                        .window = random.Int(0, 1) * random.Int(1, 150)},
                       {random.Int(1, 150), random.Int(1, 150)}, uint64_t(round));
    std::vector<PrefillChunk> chunks;
    for (int32_t i = 0; i < 3; ++i) {
      const int32_t sequence = random.Int(0, 1), end = random.Int(1, world.context(sequence));
      chunks.push_back({sequence, end - random.Int(1, std::min(end, 50)), end});
    }
    EXPECT_LT(RelativeError(Got(world, chunks), world.Want(chunks)), kTolerance)
        << "round " << round;
  }
}

TEST_P(CudaPagedPrefillTest, AWindowHidesWhatLiesBeforeIt) {
  InEveryOrder([this] {
    for (const int32_t window : {1, 20, 64, 100}) {
      PrefillWorld world({.num_q_heads = 2, .num_kv_heads = 1, .window = window}, {210}, 3);
      const std::vector<PrefillChunk> chunks = {{0, 150, 210}};
      EXPECT_LT(RelativeError(Got(world, chunks), world.Want(chunks)), kTolerance) << window;
    }
  });
}

TEST_P(CudaPagedPrefillTest, ARowHasTheSameBitsHoweverThePromptWasCut) {
  PrefillWorld world({.num_q_heads = 3, .num_kv_heads = 1, .window = 90}, {150, 20}, 4);
  const auto whole = Got(world, {{0, 0, 150}});
  for (const std::vector<int32_t>& cuts :
       {std::vector<int32_t>{0, 64, 150}, {0, 1, 21, 22, 149, 150}}) {
    for (size_t i = 0; i + 1 < cuts.size(); ++i) {
      const auto chunk = Got(world, {{1, 0, 20}, {0, cuts[i], cuts[i + 1]}});
      EXPECT_TRUE(std::equal(chunk.begin() + int64_t(20 * world.row()), chunk.end(),
                             whole.begin() + int64_t(size_t(cuts[i]) * world.row())))
          << "positions " << cuts[i] << " to " << cuts[i + 1];
    }
  }
}

// Quantized pools, which warps serve on every GPU.
class CudaQuantizedPrefillTest : public ::testing::TestWithParam<DType> {
 protected:
  std::vector<float> Got(PrefillWorld& world, const std::vector<PrefillChunk>& chunks) {
    ExpectRuns(world.Args(chunks), testing::WarpgroupDevice().value_or(testing::TestDevice()));
    return world.Result();
  }
};
INSTANTIATE_TEST_SUITE_P(Of, CudaQuantizedPrefillTest, ::testing::Values(DType::kFp8, DType::kInt8),
                         [](const auto& info) { return std::string(NameOf(info.param)); });

TEST_P(CudaQuantizedPrefillTest, EqualsTheReferenceForEveryHeadDimOverManyTiles) {
  InEveryOrder([this] {
    for (const int32_t head_dim : {64, 96, 128, 256}) {
      PrefillWorld world(
          {.num_q_heads = 4, .num_kv_heads = 2, .head_dim = head_dim, .kv_dtype = GetParam()},
          {170, 1}, 1);
      const std::vector<PrefillChunk> chunks = {{0, 150, 170}, {1, 0, 1}, {0, 3, 9}};
      EXPECT_LT(RelativeError(Got(world, chunks), world.Want(chunks)), kTolerance)
          << "head_dim " << head_dim;
    }
  });
}

TEST_P(CudaQuantizedPrefillTest, AWindowHidesWhatLiesBeforeIt) {
  for (const int32_t window : {1, 20, 100}) {
    PrefillWorld world({.num_q_heads = 3,
                        .num_kv_heads = 1,
                        .block_tokens = 32,
                        .window = window,
                        .kv_dtype = GetParam()},
                       {210}, 3);
    const std::vector<PrefillChunk> chunks = {{0, 180, 210}};
    EXPECT_LT(RelativeError(Got(world, chunks), world.Want(chunks)), kTolerance) << window;
  }
}

TEST_P(CudaQuantizedPrefillTest, ARowHasTheSameBitsHoweverThePromptWasCut) {
  PrefillWorld world({.num_q_heads = 3, .num_kv_heads = 1, .kv_dtype = GetParam()}, {150, 20}, 4);
  const auto whole = Got(world, {{0, 0, 150}});
  for (const auto& [begin, end] : {std::pair{0, 64}, {64, 65}, {65, 150}}) {
    const auto chunk = Got(world, {{1, 0, 20}, {0, begin, end}});
    EXPECT_TRUE(std::equal(chunk.begin() + int64_t(20 * world.row()), chunk.end(),
                           whole.begin() + int64_t(size_t(begin) * world.row())))
        << "positions " << begin << " to " << end;
  }
}

}  // namespace
}  // namespace baton::kernels::cuda
