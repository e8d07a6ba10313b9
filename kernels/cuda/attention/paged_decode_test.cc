#include "kernels/cuda/attention/paged_decode.h"

#include "kernels/cuda/attention/paged_decode_world.h"
#include "kernels/cuda/testing/harness.h"

namespace baton::kernels::cuda {
namespace {

using kernels::testing::RelativeError;
using testing::DecodeShape;
using testing::DecodeWorld;
using testing::ExpectRuns;
using testing::InEveryOrder;

void ExpectEqualsReference(const DecodeShape& shape, const std::vector<int32_t>& contexts) {
  DecodeWorld world(shape, contexts, 11);
  ExpectRuns(world.Args());
  // bf16 results are rounded once more than the reference's.
  const double tolerance = shape.out_dtype == DType::kF32 ? 2e-6 : 3e-3;
  EXPECT_LT(RelativeError(world.Result(), world.Want()), tolerance)
      << "head_dim " << shape.head_dim << ", heads " << shape.num_q_heads << " on "
      << shape.num_kv_heads;
}

TEST(CudaPagedDecodeTest, EqualsTheReferenceForEveryHeadDimAndType) {
  InEveryOrder([] {
    for (const int32_t head_dim : {64, 96, 128, 256}) {
      for (const DType dtype : {DType::kF32, DType::kBF16, DType::kFp8, DType::kInt8}) {
        ExpectEqualsReference({.num_q_heads = 4,
                               .num_kv_heads = 2,
                               .head_dim = head_dim,
                               .kv_dtype = dtype,
                               .out_dtype = IsQuantized(dtype) ? DType::kF32 : dtype},
                              {1, 15, 16, 17, 150});
      }
    }
  });
}

TEST(CudaPagedDecodeTest, EqualsTheReferenceForEveryGroupOfHeads) {
  InEveryOrder([] {
    for (const auto& [q, kv] :
         {std::pair{1, 1}, {3, 3}, {2, 1}, {3, 1}, {14, 2}, {8, 1}, {12, 1}}) {
      for (const DType dtype : {DType::kF32, DType::kInt8}) {
        ExpectEqualsReference(
            {.num_q_heads = q, .num_kv_heads = kv, .head_dim = 64, .kv_dtype = dtype}, {70, 33});
      }
    }
  });
}

TEST(CudaPagedDecodeTest, MergesTheSplitsOfLongContexts) {
  InEveryOrder([] {
    for (const DType dtype : {DType::kF32, DType::kBF16, DType::kFp8}) {
      ExpectEqualsReference({.num_q_heads = 2,
                             .num_kv_heads = 1,
                             .head_dim = 128,
                             .block_tokens = 32,
                             .kv_dtype = dtype},
                            {511, 512, 513, 1400, 3});
    }
  });
}

TEST(CudaPagedDecodeTest, AWindowHidesWhatLiesBeforeIt) {
  InEveryOrder([] {
    for (const int32_t window : {1, 16, 100, 600}) {
      DecodeShape shape = {.num_q_heads = 4, .num_kv_heads = 2, .head_dim = 64, .block_tokens = 64};
      shape.window = window;
      ExpectEqualsReference(shape, {1, 20, 512, 513, 1200});
      shape.kv_dtype = DType::kInt8;
      ExpectEqualsReference(shape, {20, 513});
    }
  });
}

TEST(CudaPagedDecodeTest, SequencesWithoutTokensGetZero) {
  DecodeWorld world({.num_q_heads = 12, .num_kv_heads = 1, .head_dim = 64}, {40, 0, 600, 0}, 3);
  ExpectRuns(world.Args());
  const auto got = world.Result();
  EXPECT_LT(RelativeError(got, world.Want()), 2e-6);
  for (size_t i = 12 * 64; i < 2 * 12 * 64; ++i) EXPECT_EQ(got[i], 0);
}

TEST(CudaPagedDecodeTest, ASequenceHasTheSameBitsAloneAndInABatch) {
  const std::vector<int32_t> contexts = {1300, 20, 513, 512};
  for (const DType dtype : {DType::kBF16, DType::kFp8}) {
    const DecodeShape shape = {
        .num_q_heads = 4, .num_kv_heads = 1, .head_dim = 64, .kv_dtype = dtype};
    DecodeWorld world(shape, contexts, 4);
    ExpectRuns(world.Args());
    const auto all = world.Result();
    for (size_t b = 0; b < contexts.size(); ++b) {
      ExpectRuns(world.ArgsOf(int32_t(b)));
      const auto alone = world.Result();
      const size_t row = size_t(shape.num_q_heads * shape.head_dim);
      EXPECT_TRUE(
          std::equal(alone.begin(), alone.begin() + int64_t(row), all.begin() + int64_t(b * row)))
          << "sequence " << b;
    }
  }
}

}  // namespace
}  // namespace baton::kernels::cuda
