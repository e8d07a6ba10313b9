#include "kernels/cuda/backend/attention_batch.h"
#include "kernels/cuda/backend/bucket.h"

#include <gmock/gmock.h>

namespace baton::kernels::cuda {
namespace {

using ::testing::ElementsAre;

constexpr int32_t kTables[2][3] = {{7, 1, 4}, {2, 9, 0}};

std::vector<AttentionSequence> Mixed() {
  return {{0, 1, 20, kTables[0]}, {1, 1, 33, kTables[1]}, {2, 5, 5, kTables[0]},
          {7, 3, 40, kTables[1]}, {10, 1, 1, kTables[0]}, {12, 1, 16, kTables[1]}};
}

TEST(CudaAttentionBatchTest, BucketsAreFewAndAThirdTooLargeAtMost) {
  int32_t buckets = 0;
  for (int32_t count = 1; count <= 4096; ++count) {
    const int32_t bucket = BucketOf(count);
    ASSERT_GE(bucket, count);
    ASSERT_LE(2 * bucket, 3 * count - (count > 1)) << count;
    ASSERT_EQ(BucketOf(bucket), bucket);
    buckets += bucket == count;
  }
  EXPECT_EQ(buckets, 24);
}

TEST(CudaAttentionBatchTest, NeighbouringDecodesMakeOneRun) {
  const auto runs = RunsOf(Mixed(), /*may_decode=*/true);
  ASSERT_EQ(runs.size(), 4u);
  EXPECT_TRUE(runs[0].is_decode);
  EXPECT_EQ(runs[0].count, 2u);
  EXPECT_FALSE(runs[1].is_decode);
  EXPECT_EQ(runs[1].first, 2u);
  EXPECT_EQ(runs[1].count, 2u);
  EXPECT_EQ(runs[2].count, 1u) << "row 11 lies between the last two";
  EXPECT_EQ(runs[3].first, 5u);
}

TEST(CudaAttentionBatchTest, WithoutDecodesThereIsOneRun) {
  const auto runs = RunsOf(Mixed(), /*may_decode=*/false);
  ASSERT_EQ(runs.size(), 1u);
  EXPECT_EQ(runs[0].count, 6u);
  EXPECT_FALSE(runs[0].is_decode);
}

TEST(CudaAttentionBatchTest, TablesAreAsWideAsTheLongestNeedsInWholeSplits) {
  const auto sequences = Mixed();
  const AttentionBatch batch = BatchOf(std::span(sequences).subspan(1, 2), 16);
  EXPECT_THAT(batch.query_begin, ElementsAre(1, 2));
  EXPECT_THAT(batch.query_tokens, ElementsAre(1, 5));
  EXPECT_THAT(batch.context_tokens, ElementsAre(33, 5));
  std::vector<int32_t> tables(64, -1);
  tables[0] = 2, tables[1] = 9, tables[2] = 0, tables[32] = 7;
  EXPECT_EQ(batch.blocks_max, 32);
  EXPECT_EQ(batch.block_tables, tables);
  EXPECT_EQ(batch.query_tokens_max, 5);
  EXPECT_EQ(batch.context_tokens_max, 512);
}

}  // namespace
}  // namespace baton::kernels::cuda
