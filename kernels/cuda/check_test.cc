#include <gmock/gmock.h>

#include "kernels/cuda/attention/paged_decode.h"
#include "kernels/cuda/attention/paged_prefill.h"
#include "kernels/cuda/kv/block_checksum.h"
#include "kernels/cuda/kv/block_copy.h"
#include "kernels/cuda/norm/rms_norm.h"
#include "kernels/cuda/sampling/sample_tokens.h"
#include "kernels/cuda/testing/device_array.h"

namespace baton::kernels::cuda {
namespace {

using testing::DeviceArray;
using ::testing::HasSubstr;
using ::testing::Optional;

class CudaCheckTest : public ::testing::Test {
 protected:
  CudaCheckTest() : floats_(4096), ints_(64) {}
  RmsNormArgs Norm() {
    return {.x = floats_.data(),
            .weight = floats_.data(),
            .out = floats_.data(),
            .num_tokens = 1,
            .hidden = 64};
  }
  PagedDecodeArgs Decode() {
    return {.q = floats_.data(),
            .kv = {.base = reinterpret_cast<std::byte*>(floats_.data()),
                   .num_layers = 2,
                   .num_blocks = 4,
                   .block_tokens = 16,
                   .num_kv_heads = 2,
                   .head_dim = 64},
            .context_tokens = ints_.data(),
            .block_tables = ints_.data(),
            .blocks_max = 4,
            .context_tokens_max = 64,
            .batch = 1,
            .num_q_heads = 4,
            .out = floats_.data()};
  }
  PagedPrefillArgs Prefill() {
    PagedPrefillArgs args = {.q = floats_.data(),
                             .kv = Decode().kv,
                             .query_begin = ints_.data(),
                             .query_tokens = ints_.data(),
                             .context_tokens = ints_.data(),
                             .block_tables = ints_.data(),
                             .blocks_max = 4,
                             .query_tokens_max = 64,
                             .batch = 1,
                             .num_q_heads = 4,
                             .out = floats_.data()};
    args.kv.dtype = DType::kBF16;
    return args;
  }

  DeviceArray<float> floats_;
  DeviceArray<int32_t> ints_;
};

TEST_F(CudaCheckTest, WhatIsPossiblePasses) {
  EXPECT_EQ(Check(Norm()), std::nullopt);
  EXPECT_EQ(Check(Decode()), std::nullopt);
  EXPECT_EQ(Check(Prefill()), std::nullopt);
}

TEST_F(CudaCheckTest, RefusalsNameTheFieldItsValueAndTheLimit) {
  RmsNormArgs norm = Norm();
  norm.hidden = 12;
  EXPECT_THAT(Check(norm), Optional(HasSubstr("hidden is 12: a positive multiple of 8")));
  norm.hidden = 16392;
  EXPECT_THAT(Check(norm), Optional(HasSubstr("hidden is 16392: from 8 to 16384")));
  norm = Norm();
  norm.out_dtype = DType::kF16;
  EXPECT_THAT(Check(norm), Optional(HasSubstr("out_dtype is f16: f32 and bf16")));
  norm = Norm();
  norm.x += 1;
  EXPECT_THAT(Check(norm), Optional(HasSubstr("x is not at a multiple of 16")));
}

TEST_F(CudaCheckTest, DecodeRefusesShapesItHasNoKernelFor) {
  PagedDecodeArgs args = Decode();
  args.kv.head_dim = 80;
  EXPECT_THAT(Check(args), Optional(HasSubstr("kv.head_dim is 80: 64, 96, 128 or 256")));
  args = Decode();
  args.kv.block_tokens = 24;
  EXPECT_THAT(Check(args), Optional(HasSubstr("kv.block_tokens is 24: 16, 32 or 64")));
  args = Decode();
  args.num_q_heads = 5;
  EXPECT_THAT(Check(args), Optional(HasSubstr("num_q_heads is 5")));
  args = Decode();
  args.context_tokens_max = 65;
  EXPECT_THAT(Check(args), Optional(HasSubstr("context_tokens_max is 65: from 1 to 64")));
  args = Decode();
  args.layer = 2;
  EXPECT_THAT(Check(args), Optional(HasSubstr("layer is 2: from 0 to 1")));
}

TEST_F(CudaCheckTest, LongContextsNeedAWorkspace) {
  PagedDecodeArgs args = Decode();
  args.blocks_max = 64;
  args.context_tokens_max = 1000;
  EXPECT_THAT(Check(args), Optional(HasSubstr("workspace is null")));
  EXPECT_EQ(PagedDecodeWorkspaceBytes(args), size_t{4} * 2 * (64 + 2) * sizeof(float));
  args.window = 100;  // two splits at most, however long the context
  args.context_tokens_max = 1024;
  EXPECT_EQ(PagedDecodeWorkspaceBytes(args), size_t{4} * 2 * (64 + 2) * sizeof(float));
}

TEST_F(CudaCheckTest, EveryDecodeShapeFitsTheSmallestDevice) {
  for (const int32_t head_dim : {64, 96, 128, 256}) {
    for (const DType dtype : {DType::kF32, DType::kBF16}) {
      for (const int32_t group : {1, 2, 3, 7, 8, 12}) {
        PagedDecodeArgs args = Decode();
        args.kv.head_dim = head_dim;
        args.kv.dtype = dtype;
        args.num_q_heads = 2 * group;
        const PagedDecodePlan plan = Choose(args, kSmallestDevice);
        EXPECT_LE(plan.split.shared_bytes, kSmallestDevice.shared_bytes_per_block);
        EXPECT_GE(plan.heads_per_block * plan.head_groups, group);
      }
    }
  }
}

TEST_F(CudaCheckTest, PrefillNeedsAPoolOfTwoBytesOrOneAndAPositiveScale) {
  PagedPrefillArgs args = Prefill();
  args.kv.dtype = DType::kF32;
  EXPECT_THAT(Check(args), Optional(HasSubstr("kv.dtype is f32: bf16, fp8 or int8 is needed")));
  args = Prefill();
  args.scale = 0;
  EXPECT_THAT(Check(args), Optional(HasSubstr("scale is 0")));
  args = Prefill();
  args.query_tokens_max = 65;
  EXPECT_THAT(Check(args), Optional(HasSubstr("query_tokens_max is 65: from 1 to 64")));
}

TEST_F(CudaCheckTest, EveryPrefillShapeFitsTheSmallestDeviceAndHasAllRows) {
  for (const int32_t head_dim : {64, 96, 128, 256}) {
    for (const int32_t group : {1, 2, 3, 7, 8, 12}) {
      PagedPrefillArgs args = Prefill();
      args.kv.head_dim = head_dim;
      args.num_q_heads = 2 * group;
      const LaunchShape shape = Choose(args, kSmallestDevice).shape;
      EXPECT_LE(shape.shared_bytes, kSmallestDevice.shared_bytes_per_block);
      EXPECT_GE(int32_t(shape.grid_x) * 64, 64 * group);
      EXPECT_EQ(shape.grid_y, 2u);
    }
  }
}

TEST_F(CudaCheckTest, SamplesNeedRowsAndAVocabulary) {
  SampleTokensArgs args = {.logits = floats_.data(),
                           .rows = reinterpret_cast<const SampleRow*>(floats_.data()),
                           .vocabulary = 0,
                           .batch = 1,
                           .tokens = ints_.data()};
  EXPECT_THAT(Check(args), Optional(HasSubstr("vocabulary is 0: from 1 to ")));
  args.vocabulary = 100;
  EXPECT_EQ(Check(args), std::nullopt);
  args.rows = nullptr;
  EXPECT_THAT(Check(args), Optional(HasSubstr("rows is null")));
}

TEST_F(CudaCheckTest, ChecksumsOfShortPiecesAreRefused) {
  DeviceArray<uint64_t> words(4);
  EXPECT_THAT(Check(BlockChecksumArgs{.base = reinterpret_cast<std::byte*>(floats_.data()),
                                      .offsets = words.data(),
                                      .num_pieces = 1,
                                      .piece_bytes = 240,
                                      .sums = words.data()}),
              Optional(HasSubstr("piece_bytes is 240: at least 256")));
}

TEST_F(CudaCheckTest, CopiesOfHeadsThatThePoolLacksAreRefused) {
  KvBlockCopyArgs args = {.kv = Decode().kv,
                          .num_layers = 1,
                          .blocks = ints_.data(),
                          .num_blocks = 1,
                          .first_head = 1,
                          .num_heads = 2,
                          .staging = reinterpret_cast<std::byte*>(floats_.data())};
  EXPECT_THAT(Check(args), Optional(HasSubstr("num_heads is 2: from 1 to 1")));
  args.num_heads = 1;
  EXPECT_EQ(Check(args), std::nullopt);
}

}  // namespace
}  // namespace baton::kernels::cuda
