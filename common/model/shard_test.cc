#include "common/model/shard.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/kv_heads.h"

namespace baton::model {
namespace {

using testing::AllOf;
using testing::HasSubstr;

HfConfig Llama70B() {
  HfConfig config;
  config.vocab = 128256;
  config.hidden = 8192;
  config.intermediate = 28672;
  config.num_layers = 80;
  config.num_q_heads = 64;
  config.num_kv_heads = 8;
  config.head_dim = 128;
  return config;
}

TEST(ShardTest, AKvBlockTakesWhatAllRanksKeepOfIt) {
  const HfConfig config = Llama70B();
  EXPECT_EQ(KvBlockBytes(config, 1, kernels::DType::kBF16, 16), 2 * 80 * 8 * 16 * 128 * 2);
  EXPECT_EQ(KvBlockBytes(config, 8, kernels::DType::kBF16, 16), 2 * 80 * 8 * 16 * 128 * 2);
  EXPECT_EQ(KvBlockBytes(config, 16, kernels::DType::kBF16, 16), 2 * 80 * 16 * 16 * 128 * 2);
  EXPECT_EQ(KvBlockBytes(config, 1, kernels::DType::kInt8, 16), 2 * 80 * 8 * 16 * (128 + 4));
}

std::string Error(const HfConfig& config, int32_t size) {
  return MessageOf(CheckTensorParallel(config, size));
}

TEST(ShardTest, OneRankHasEverything) {
  HfConfig config = Llama70B();
  for (const bool tied : {false, true}) {
    config.tied_embeddings = tied;
    const Shard shard = ShardOf(config, 0, 1);
    EXPECT_EQ(shard.q_heads, (Slice{0, 64}));
    EXPECT_EQ(shard.kv_heads, (Slice{0, 8}));
    EXPECT_EQ(shard.intermediate, (Slice{0, 28672}));
    EXPECT_EQ(shard.vocab, (Slice{0, 128256}));
    EXPECT_EQ(NumParameters(config, shard), config.num_parameters());
  }
}

TEST(ShardTest, RanksCoverEverythingOnceAndInOrder) {
  const HfConfig config = Llama70B();
  for (const int32_t size : {2, 4, 8}) {
    Slice q, kv, f, v;
    const auto follows = [](Slice& so_far, const Slice& next) {
      EXPECT_EQ(next.first, so_far.count);
      so_far.count += next.count;
    };
    for (int32_t rank = 0; rank < size; ++rank) {
      const Shard shard = ShardOf(config, rank, size);
      follows(q, shard.q_heads);
      follows(kv, shard.kv_heads);
      follows(f, shard.intermediate);
      follows(v, shard.vocab);
    }
    EXPECT_EQ(q.count, 64);
    EXPECT_EQ(kv.count, 8);
    EXPECT_EQ(f.count, 28672);
    EXPECT_EQ(v.count, 128256);
  }
}

// For every shape that is accepted.
TEST(ShardTest, ARanksQueryHeadsReadItsKvHeadsAndNoOthers) {
  for (const int32_t kv_heads : {1, 2, 3, 4, 8}) {
    for (const int32_t group : {1, 2, 4, 8, 16}) {
      for (const int32_t size : {1, 2, 3, 4, 6, 8, 16}) {
        HfConfig config = Llama70B();
        config.num_kv_heads = kv_heads;
        config.num_q_heads = kv_heads * group;
        config.intermediate = 96;
        if (!CheckTensorParallel(config, size).ok()) continue;
        for (int32_t rank = 0; rank < size; ++rank) {
          const Shard shard = ShardOf(config, rank, size);
          const int32_t last = shard.q_heads.first + shard.q_heads.count - 1;
          EXPECT_EQ(shard.q_heads.first / group, shard.kv_heads.first);
          EXPECT_EQ(last / group, shard.kv_heads.first + shard.kv_heads.count - 1);
          EXPECT_EQ(shard.q_heads.count % shard.kv_heads.count, 0);
        }
      }
    }
  }
}

TEST(ShardTest, FewerKvHeadsThanRanksAreKeptByNeighbours) {
  HfConfig config = Llama70B();
  config.num_kv_heads = 2;
  for (int32_t rank = 0; rank < 8; ++rank) {
    EXPECT_EQ(ShardOf(config, rank, 8).kv_heads, (Slice{rank / 4, 1}));
  }
}

TEST(ShardTest, AVocabularyThatCannotBeDividedIsWholeEverywhere) {
  HfConfig config = Llama70B();
  config.vocab = 50257;
  const Shard shard = ShardOf(config, 1, 2);
  EXPECT_FALSE(shard.vocab_parallel);
  EXPECT_EQ(shard.vocab, (Slice{0, 50257}));
}

TEST(ShardTest, ATiedEmbeddingIsKeptWholeAndItsRowsOnceMore) {
  HfConfig config = Llama70B();
  const int64_t table = int64_t{config.vocab} * config.hidden;
  config.tied_embeddings = true;
  const int64_t tied = NumParameters(config, ShardOf(config, 0, 8));
  config.tied_embeddings = false;
  EXPECT_EQ(NumParameters(config, ShardOf(config, 0, 8)), tied);
  const int64_t layers = config.num_parameters() - 2 * table;
  EXPECT_NEAR(double(tied), double(layers) / 8 + double(table) * 9 / 8, 2e-3 * double(tied));
}

TEST(ShardTest, WhatCannotBeDividedIsNamedWithWhatCould) {
  HfConfig config = Llama70B();
  EXPECT_THAT(Error(config, 3),
              AllOf(HasSubstr("tensor_parallel_size is 3"), HasSubstr("num_attention_heads is 64"),
                    HasSubstr("1, 2, 4, 8, 16, 32 or 64")));
  EXPECT_THAT(Error(config, 128), AllOf(HasSubstr("num_attention_heads is 64, fewer")));
  EXPECT_THAT(Error(config, 0), HasSubstr("at least 1"));
  config.num_q_heads = 60;
  config.num_kv_heads = 10;
  EXPECT_THAT(Error(config, 4),
              AllOf(HasSubstr("num_key_value_heads is 10"), HasSubstr("neither a multiple")));
  config = Llama70B();
  config.intermediate = 18944 + 2;
  EXPECT_THAT(Error(config, 4),
              AllOf(HasSubstr("intermediate_size is 18946"), HasSubstr("1 or 2")));
  config.num_q_heads = config.num_kv_heads = 1;
  EXPECT_THAT(Error(config, 2), HasSubstr("can be divided by 1"));
}

}  // namespace
}  // namespace baton::model
