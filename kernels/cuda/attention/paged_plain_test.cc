#include "kernels/cuda/attention/paged_plain.h"

#include "kernels/cuda/attention/paged_prefill_world.h"
#include "kernels/cuda/testing/harness.h"

namespace baton::kernels::cuda {
namespace {

using kernels::testing::RelativeError;
using testing::ExpectRuns;
using testing::InEveryOrder;
using testing::PrefillChunk;
using testing::PrefillWorld;

// A GPU's exponential is an approximation.
constexpr double kTolerance = 1e-5;

std::vector<float> Got(PrefillWorld& world, const std::vector<PrefillChunk>& chunks) {
  ExpectRuns(PagedPlainArgs{world.Args(chunks)});
  return world.Result();
}

TEST(CudaPagedPlainTest, EqualsTheReferenceForHeadsOfAnySize) {
  InEveryOrder([] {
    for (const DType kv : {DType::kF32, DType::kBF16, DType::kFp8, DType::kInt8}) {
      for (const int32_t head_dim : {8, 40, 64, 256}) {
        PrefillWorld world({.num_q_heads = 4,
                            .num_kv_heads = 2,
                            .head_dim = head_dim,
                            .query_size = 3,
                            .kv_dtype = kv},
                           {37, 1}, 1);
        const std::vector<PrefillChunk> chunks = {{0, 20, 37}, {1, 0, 1}};
        EXPECT_LT(RelativeError(Got(world, chunks), world.Want(chunks)), kTolerance)
            << "head_dim " << head_dim;
      }
    }
  });
}

TEST(CudaPagedPlainTest, RoundsToBf16WhereAsked) {
  PrefillWorld world({.head_dim = 16, .out_dtype = DType::kBF16}, {20}, 2);
  const std::vector<PrefillChunk> chunks = {{0, 0, 20}};
  EXPECT_LT(RelativeError(Got(world, chunks), world.Want(chunks)), 4e-3);
}

TEST(CudaPagedPlainTest, AWindowHidesWhatLiesBeforeIt) {
  for (const int32_t window : {1, 32, 50}) {
    PrefillWorld world(
        {.head_dim = 24, .block_tokens = 32, .window = window, .kv_dtype = DType::kF32}, {130}, 3);
    const std::vector<PrefillChunk> chunks = {{0, 90, 130}, {0, 5, 40}};
    EXPECT_LT(RelativeError(Got(world, chunks), world.Want(chunks)), kTolerance) << window;
  }
}

TEST(CudaPagedPlainTest, ARowHasTheSameBitsHoweverThePromptWasCut) {
  PrefillWorld world({.num_q_heads = 3, .head_dim = 16, .window = 40}, {90, 20}, 4);
  const auto whole = Got(world, {{0, 0, 90}});
  for (const auto& [begin, end] : {std::pair{0, 33}, {33, 34}, {34, 90}}) {
    const auto chunk = Got(world, {{1, 0, 20}, {0, begin, end}});
    EXPECT_TRUE(std::equal(chunk.begin() + int64_t(20 * world.row()), chunk.end(),
                           whole.begin() + int64_t(size_t(begin) * world.row())))
        << "positions " << begin << " to " << end;
  }
}

}  // namespace
}  // namespace baton::kernels::cuda
