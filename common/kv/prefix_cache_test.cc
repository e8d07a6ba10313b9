#include "common/kv/prefix_cache.h"

#include <gtest/gtest.h>

#include <random>
#include <set>

#include "common/kv/block_table.h"

namespace baton::kv {
namespace {

TEST(PrefixCacheTest, AProbeStopsAtTheFirstGap) {
  BlockPool pool(4);
  PrefixCache cache(pool);
  const BlockId a = *pool.Allocate();
  const BlockId c = *pool.Allocate();
  cache.Insert({0, 1}, {}, a);
  cache.Insert({0, 3}, {0, 2}, c);
  pool.Release(a);
  const std::vector<BlockHash> hashes = {{0, 1}, {0, 2}, {0, 3}};
  const PrefixCache::Found found = cache.Probe(hashes);
  EXPECT_EQ(found.blocks, 1);
  EXPECT_EQ(found.cached_blocks, 1);
}

TEST(PrefixCacheTest, ASecondBlockWithTheSameContentStaysNameless) {
  BlockPool pool(2);
  PrefixCache cache(pool);
  const BlockId first = *pool.Allocate();
  const BlockId second = *pool.Allocate();
  EXPECT_TRUE(cache.Insert({0, 1}, {}, first));
  EXPECT_FALSE(cache.Insert({0, 1}, {}, second));
  pool.Release(second);
  EXPECT_EQ(pool.state(second), BlockState::kFree);
  EXPECT_EQ(cache.Find({0, 1}), first);
}

TEST(PrefixCacheTest, ChangesAreNet) {
  BlockPool pool(1);
  PrefixCache cache(pool);
  const auto store = [&](uint64_t name) {
    const BlockId block = *pool.Allocate();
    cache.Insert({0, name}, {}, block);
    pool.Release(block);
  };
  store(1);
  store(2);  // evicts 1, which nobody was told of
  PrefixCache::Changes changes = cache.TakeChanges();
  ASSERT_EQ(changes.stored.size(), 1u);
  EXPECT_EQ(changes.stored[0].hash, (BlockHash{0, 2}));
  EXPECT_TRUE(changes.removed.empty());
  store(3);
  store(2);  // back again
  EXPECT_TRUE(cache.TakeChanges().empty());
}

TEST(PrefixCacheTest, ParentsAreToldBeforeTheirChildren) {
  BlockPool pool(8);
  PrefixCache cache(pool);
  for (uint64_t i = 1; i <= 8; ++i) cache.Insert({0, i}, {0, i - 1}, *pool.Allocate());
  const PrefixCache::Changes changes = cache.TakeChanges();
  ASSERT_EQ(changes.stored.size(), 8u);
  for (uint64_t i = 0; i < 8; ++i) EXPECT_EQ(changes.stored[i].parent, (BlockHash{0, i}));
}

class BlockTableTest : public ::testing::Test {
 protected:
  std::vector<int32_t> Tokens(int count, int first = 0) {
    std::vector<int32_t> tokens;
    for (int i = 0; i < count; ++i) tokens.push_back(first + i);
    return tokens;
  }

  BlockPool pool_{8};
  PrefixCache cache_{pool_};
  BlockHasher hasher_{"salt"};
  BlockSpace space_{pool_, &cache_, hasher_, 4};
};

TEST_F(BlockTableTest, GrowsByAllOrNothing) {
  BlockTable table(space_);
  EXPECT_TRUE(table.GrowTo(3));
  EXPECT_FALSE(table.GrowTo(9));
  EXPECT_EQ(table.num_blocks(), 3);
  EXPECT_EQ(pool_.counters().active, 3);
  table.Release();
  EXPECT_EQ(pool_.counters().free, 8);
}

TEST_F(BlockTableTest, ASecondSequenceFindsTheFullBlocksOfTheFirst) {
  const std::vector<int32_t> tokens = Tokens(11);
  BlockTable first(space_);
  ASSERT_TRUE(first.GrowTo(3));
  first.Commit(tokens, 11);
  BlockTable second(space_);
  EXPECT_EQ(second.Probe(tokens, 2).blocks, 2);
  EXPECT_EQ(second.TakePrefix(tokens, 1), 1) << "no more than asked for";
  second.Release();
  first.Release();
  EXPECT_EQ(pool_.counters().cached, 2);
  EXPECT_EQ(second.TakePrefix(tokens, 2), 2);
  second.Release();
}

TEST_F(BlockTableTest, OnlyWhatIsComputedGetsAName) {
  const std::vector<int32_t> tokens = Tokens(12);
  BlockTable table(space_);
  ASSERT_TRUE(table.GrowTo(3));
  table.Commit(tokens, 7);
  EXPECT_EQ(cache_.size(), 1);
  table.Commit(tokens, 12);
  EXPECT_EQ(cache_.size(), 3);
  table.Release();
}

TEST_F(BlockTableTest, APrefixOutlivesWhatFollowsIt) {
  const std::vector<int32_t> tokens = Tokens(32);
  BlockTable table(space_);
  ASSERT_TRUE(table.GrowTo(8));
  table.Commit(tokens, 32);
  table.Release();
  BlockTable other(space_);
  ASSERT_TRUE(other.GrowTo(5));  // evicts the five last ones
  EXPECT_EQ(table.Probe(tokens, 8).blocks, 3);
  other.Release();
}

TEST_F(BlockTableTest, QuarantineTakesTheTailOnly) {
  const std::vector<int32_t> tokens = Tokens(16);
  BlockTable table(space_);
  ASSERT_TRUE(table.GrowTo(2));
  table.Commit(tokens, 8);
  ASSERT_TRUE(table.GrowTo(4));
  EXPECT_EQ(table.ReleaseAndQuarantine(2).size(), 2u);
  EXPECT_EQ(pool_.counters().cached, 2);
  EXPECT_EQ(pool_.counters().quarantined, 2);
}

// One who follows the changes always knows what is held.
TEST_F(BlockTableTest, ChangesReplayToWhatIsHeld) {
  std::mt19937_64 random(1);
  const auto uniform = [&](int low, int high) {
    return std::uniform_int_distribution<int>(low, high)(random);
  };
  std::set<BlockHash> followed;
  for (int round = 0; round < 2000; ++round) {
    const std::vector<int32_t> tokens = Tokens(uniform(4, 32), uniform(0, 3));
    const int32_t full = static_cast<int32_t>(tokens.size()) / 4;
    BlockTable table(space_);
    table.TakePrefix(tokens, full);
    ASSERT_TRUE(table.GrowTo(full));
    table.Commit(tokens, full * 4);
    table.Release();
    if (uniform(0, 2) == 0) continue;
    const PrefixCache::Changes changes = cache_.TakeChanges();
    for (const auto& stored : changes.stored) ASSERT_TRUE(followed.insert(stored.hash).second);
    for (const BlockHash& hash : changes.removed) ASSERT_EQ(followed.erase(hash), 1u);
    std::set<BlockHash> held;
    for (const auto& stored : cache_.Snapshot()) held.insert(stored.hash);
    ASSERT_EQ(followed, held);
  }
}

}  // namespace
}  // namespace baton::kv
