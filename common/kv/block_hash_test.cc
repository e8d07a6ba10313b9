#include "common/kv/block_hash.h"

#include <gtest/gtest.h>

#include <numeric>
#include <set>

namespace baton::kv {
namespace {

std::vector<int32_t> Tokens(int32_t count, int32_t first = 0) {
  std::vector<int32_t> tokens(count);
  std::iota(tokens.begin(), tokens.end(), first);
  return tokens;
}

TEST(BlockHashTest, OnlyFullBlocksHaveAName) {
  EXPECT_EQ(HashBlocks(Tokens(15), 16, "m").size(), 0u);
  EXPECT_EQ(HashBlocks(Tokens(16), 16, "m").size(), 1u);
  EXPECT_EQ(HashBlocks(Tokens(47), 16, "m").size(), 2u);
  EXPECT_EQ(HashBlocks({}, 16, "m").size(), 0u);
}

// Routers and workers of different builds must name the same block the same way.
TEST(BlockHashTest, NamesAreTheSameInEveryBuild) {
  const std::vector<BlockHash> hashes = HashBlocks(Tokens(32), 16, "demo");
  EXPECT_EQ(hashes[0].high, 0xfb820ee158bd3fefu);
  EXPECT_EQ(hashes[0].low, 0x5adb6d170f2d9049u);
  EXPECT_EQ(hashes[1].high, 0x7d55a24b33fef933u);
  EXPECT_EQ(hashes[1].low, 0x0e1ce6d187cfaa7bu);
}

TEST(BlockHashTest, EqualPrefixesHaveEqualNamesAndDifferFromThereOn) {
  std::vector<int32_t> a = Tokens(64);
  std::vector<int32_t> b = a;
  b[20] = 999;
  const auto names_a = HashBlocks(a, 16, "m");
  const auto names_b = HashBlocks(b, 16, "m");
  EXPECT_EQ(names_a[0], names_b[0]);
  for (int i = 1; i < 4; ++i) EXPECT_NE(names_a[i], names_b[i]) << i;
}

TEST(BlockHashTest, TheSameTokensElsewhereInAPromptHaveAnotherName) {
  std::vector<int32_t> twice = Tokens(16);
  const std::vector<int32_t> again = twice;
  twice.insert(twice.end(), again.begin(), again.end());
  const auto names = HashBlocks(twice, 16, "m");
  EXPECT_NE(names[0], names[1]);
}

TEST(BlockHashTest, SaltsShareNothing) {
  std::set<BlockHash> names;
  for (const char* salt : {"", "a", "b", "ab", "a b"}) {
    for (const BlockHash& name : HashBlocks(Tokens(64), 16, salt)) names.insert(name);
  }
  EXPECT_EQ(names.size(), 20u);
}

TEST(BlockHashTest, BlockByBlockIsTheSameAsAllAtOnce) {
  const std::vector<int32_t> tokens = Tokens(96, 7);
  BlockHasher hasher("m");
  BlockHash parent;
  const auto names = HashBlocks(tokens, 32, "m");
  for (size_t i = 0; i < names.size(); ++i) {
    parent = hasher.Next(parent, std::span(tokens).subspan(i * 32, 32));
    EXPECT_EQ(parent, names[i]);
  }
}

}  // namespace
}  // namespace baton::kv
