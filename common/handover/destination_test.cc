#include "common/handover/destination.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace baton::handover {
namespace {

using ::testing::HasSubstr;

constexpr kernels::KvView kOurs{.dtype = kernels::DType::kBF16,
                                .num_layers = 2,
                                .num_blocks = 8,
                                .block_tokens = 16,
                                .num_kv_heads = 1,
                                .head_dim = 4};

v1::PrefillRequest Request() {
  v1::PrefillRequest request;
  for (int i = 0; i < 40; ++i) request.mutable_sequence()->add_prompt(i);  // 3 blocks
  v1::KvRegion& region = *request.mutable_destination();
  region.set_num_layers(2);
  region.set_num_blocks(100);
  region.set_block_tokens(16);
  region.set_block_layer_bytes(kOurs.block_layer_bytes());
  request.set_first_block(1);
  request.add_blocks(99);
  request.add_blocks(0);
  return request;
}

std::string ErrorOf(const v1::PrefillRequest& request) {
  return MessageOf(ReadDestination(request, kOurs).status());
}

TEST(DestinationTest, ACompleteRequestIsTaken) { EXPECT_EQ(ErrorOf(Request()), ""); }

TEST(DestinationTest, PoolsOfAnotherShapeAreRefusedWithBothNumbers) {
  v1::PrefillRequest request = Request();
  request.mutable_destination()->set_num_layers(3);
  EXPECT_THAT(ErrorOf(request), HasSubstr("num_layers is 3, but this prefill worker's is 2"));
  request = Request();
  request.mutable_destination()->set_block_tokens(32);
  EXPECT_THAT(ErrorOf(request), HasSubstr("block_tokens is 32"));
}

TEST(DestinationTest, BlocksMustCoverTheRestOfThePromptExactly) {
  v1::PrefillRequest request = Request();
  request.add_blocks(3);
  EXPECT_THAT(ErrorOf(request), HasSubstr("do not cover"));
  request = Request();
  request.set_first_block(-1);
  EXPECT_THAT(ErrorOf(request), HasSubstr("do not cover"));
  request = Request();
  request.set_first_block(3);
  request.clear_blocks();
  EXPECT_THAT(ErrorOf(request), HasSubstr("do not cover"));
}

TEST(DestinationTest, NoWriteLeavesTheDestinationsPool) {
  v1::PrefillRequest request = Request();
  request.set_blocks(1, 100);
  EXPECT_THAT(ErrorOf(request), HasSubstr("block 100 of a pool of 100"));
  request.set_blocks(1, -1);
  EXPECT_THAT(ErrorOf(request), HasSubstr("block -1"));
}

// One KV head: any number of ranks keeps copies of it.
TEST(DestinationTest, APoolDividedOtherwiseIsTakenAndItsSharesAreFound) {
  v1::PrefillRequest request = Request();
  request.mutable_destination()->set_tensor_parallel_size(2);
  request.mutable_destination()->set_num_kv_heads(1);
  request.mutable_destination()->set_base_address(1000);
  const auto to = ReadDestination(request, kOurs);
  ASSERT_TRUE(to.ok()) << to.status();
  EXPECT_EQ(to->pieces.size(), 2u);
  const uint64_t piece = kOurs.block_layer_bytes();
  EXPECT_EQ(to->AddressOf(0, 1, 2), 1000 + 100 * piece) << "block 0 of the second layer";
  EXPECT_EQ(to->AddressOf(1, 1, 1), 1000 + (200 + 100 + 99) * piece) << "in the second share";
}

TEST(DestinationTest, DivisionsThatCannotBeAreRefused) {
  v1::PrefillRequest request = Request();
  request.mutable_destination()->set_num_kv_heads(2);
  EXPECT_THAT(ErrorOf(request), HasSubstr("num_kv_heads is 2, but this prefill worker's is 1"));
  request.mutable_destination()->set_num_kv_heads(0);
  request.mutable_destination()->set_tensor_parallel_size(65);
  EXPECT_THAT(ErrorOf(request), HasSubstr("tensor_parallel_size is 65"));
  kernels::KvView three = kOurs;
  three.num_kv_heads = 3;
  request.mutable_destination()->set_tensor_parallel_size(2);
  EXPECT_THAT(MessageOf(ReadDestination(request, three).status()),
              HasSubstr("tensor_parallel_size is 2, which 3 KV heads"));
  // A share of the wrong size for what it says of itself.
  three.num_kv_heads = 4;
  request.mutable_destination()->set_block_layer_bytes(three.block_layer_bytes());
  EXPECT_THAT(MessageOf(ReadDestination(request, three).status()), HasSubstr("block_layer_bytes"));
}

}  // namespace
}  // namespace baton::handover
