#include "common/kv/block_pool.h"

#include <gtest/gtest.h>

#include <optional>
#include <random>
#include <vector>

#include "common/kv/prefix_cache.h"

namespace baton::kv {
namespace {

TEST(BlockPoolTest, FreeingASharedBlockKeepsTheOtherReader) {
  BlockPool pool(2);
  const BlockId block = *pool.Allocate();
  pool.Reference(block);
  pool.Release(block);
  EXPECT_EQ(pool.state(block), BlockState::kActive);
  pool.Release(block);
  EXPECT_EQ(pool.state(block), BlockState::kFree);
}

TEST(BlockPoolTest, EvictsWhatWasReleasedLongestAgo) {
  BlockPool pool(2);
  PrefixCache cache(pool);
  const BlockId first = *pool.Allocate();
  const BlockId second = *pool.Allocate();
  cache.Insert({1, 1}, {}, first);
  cache.Insert({2, 2}, {}, second);
  pool.Release(second);
  pool.Release(first);
  EXPECT_EQ(pool.Allocate(), second);
  EXPECT_FALSE(cache.Find({2, 2}).has_value());
  EXPECT_EQ(cache.Find({1, 1}), first);
}

TEST(BlockPoolTest, APinnedBlockIsNotEvicted) {
  BlockPool pool(1);
  PrefixCache cache(pool);
  const BlockId block = *pool.Allocate();
  cache.Insert({1, 1}, {}, block);
  pool.Pin(block);
  pool.Release(block);
  EXPECT_EQ(pool.allocatable(), 0);
  EXPECT_FALSE(pool.Allocate().has_value());
  pool.Unpin(block);
  EXPECT_EQ(pool.Allocate(), block);
}

TEST(BlockPoolTest, AQuarantinedBlockIsOutOfUseUntilItsEnd) {
  BlockPool pool(1);
  const BlockId block = *pool.Allocate();
  pool.Quarantine(block);
  EXPECT_FALSE(pool.Allocate().has_value());
  pool.EndQuarantine(block);
  EXPECT_EQ(pool.Allocate(), block);
}

TEST(BlockPoolTest, ASpareStandsInForABlockWhoseQuarantineLasts) {
  BlockPool pool(1, /*num_spares=*/1);
  const BlockId lent = *pool.Allocate();
  EXPECT_FALSE(pool.Allocate().has_value()) << "a spare is no block to use";
  pool.Quarantine(lent);
  ASSERT_TRUE(pool.Replace(lent));
  const BlockId other = *pool.Allocate();
  EXPECT_NE(other, lent);
  pool.Quarantine(other);
  EXPECT_FALSE(pool.Replace(other)) << "no spare is left";
  pool.EndQuarantine(lent);  // and takes the spare's part
  EXPECT_EQ(pool.state(lent), BlockState::kSpare);
  ASSERT_TRUE(pool.Replace(other));
  EXPECT_EQ(pool.Allocate(), lent);
}

TEST(BlockPoolDeathTest, OurOwnMistakesStopTheProcess) {
  BlockPool pool(2);
  const BlockId block = *pool.Allocate();
  pool.Release(block);
  EXPECT_DEATH(pool.Release(block), "released too often");
  EXPECT_DEATH(pool.Reference(block), "neither active nor cached");
  EXPECT_DEATH(pool.EndQuarantine(block), "not quarantined");
  EXPECT_DEATH(pool.Release(BlockId(2)), "block 2 of 2");
  const BlockId shared = *pool.Allocate();
  pool.Reference(shared);
  EXPECT_DEATH(pool.Quarantine(shared), "2 references");
}

// The same, as slowly and obviously as it can be written.
class NaivePool {
 public:
  struct Block {
    BlockState state = BlockState::kFree;
    int references = 0;
    int pins = 0;
    std::optional<BlockHash> name;
    int64_t released = 0;
  };
  NaivePool(int n, int spares) : blocks(n + spares) {
    for (int i = n; i < n + spares; ++i) blocks[i].state = BlockState::kSpare;
  }

  int Count(BlockState state) const {
    int count = 0;
    for (const Block& block : blocks) count += block.state == state;
    return count;
  }
  // The block that must be evicted next; -1: none.
  int Oldest() const {
    int oldest = -1;
    for (int i = 0; i < int(blocks.size()); ++i) {
      if (blocks[i].state != BlockState::kCached || blocks[i].pins > 0) continue;
      if (oldest < 0 || blocks[i].released < blocks[oldest].released) oldest = i;
    }
    return oldest;
  }
  std::optional<int> Holder(const BlockHash& name) const {
    for (int i = 0; i < int(blocks.size()); ++i) {
      if (blocks[i].name == name) return i;
    }
    return std::nullopt;
  }
  std::vector<int> Where(BlockState state) const {
    std::vector<int> found;
    for (int i = 0; i < int(blocks.size()); ++i) {
      if (blocks[i].state == state) found.push_back(i);
    }
    return found;
  }

  std::vector<Block> blocks;
  int64_t now = 0;
};

class PoolAgainstNaive {
 public:
  explicit PoolAgainstNaive(uint64_t seed)
      : random_(seed),
        size_(Uniform(1, 12)),
        spares_(Uniform(0, 3)),
        pool_(size_, spares_),
        cache_(pool_),
        naive_(size_, spares_) {}

  void Run(int operations) {
    for (int i = 0; i < operations && !::testing::Test::HasFailure(); ++i) {
      ++naive_.now;
      switch (Uniform(0, 9)) {
        case 0:
        case 1:
          Allocate();
          break;
        case 2:
          ReferenceOne(BlockState::kActive);
          break;
        case 3:
          ReferenceOne(BlockState::kCached);
          break;
        case 4:
          Release();
          break;
        case 5:
          Name();
          break;
        case 6:
          Quarantine();
          break;
        case 7:
          EndQuarantine();
          break;
        case 8:
          PinOrUnpin();
          break;
        case 9:
          Replace();
          break;
      }
      Compare();
    }
  }

 private:
  int Uniform(int low, int high) { return std::uniform_int_distribution<int>(low, high)(random_); }
  int Pick(BlockState state) {
    const std::vector<int> found = naive_.Where(state);
    return found.empty() ? -1 : found[Uniform(0, int(found.size()) - 1)];
  }

  void Allocate() {
    const bool any_free = naive_.Count(BlockState::kFree) > 0;
    const int oldest = naive_.Oldest();
    const std::optional<BlockId> got = pool_.Allocate();
    ASSERT_EQ(got.has_value(), any_free || oldest >= 0);
    if (!got) return;
    NaivePool::Block& block = naive_.blocks[got->value()];
    if (any_free) {
      ASSERT_EQ(block.state, BlockState::kFree);
    } else {
      ASSERT_EQ(got->value(), oldest);
    }
    block = {.state = BlockState::kActive, .references = 1};
  }
  void ReferenceOne(BlockState state) {
    const int at = Pick(state);
    if (at < 0) return;
    pool_.Reference(BlockId(at));
    naive_.blocks[at].state = BlockState::kActive;
    ++naive_.blocks[at].references;
  }
  void Release() {
    const int at = Pick(BlockState::kActive);
    if (at < 0) return;
    pool_.Release(BlockId(at));
    NaivePool::Block& block = naive_.blocks[at];
    if (--block.references > 0) return;
    block.state = block.name ? BlockState::kCached : BlockState::kFree;
    block.released = naive_.now;
  }
  void Name() {
    const int at = Pick(BlockState::kActive);
    if (at < 0 || naive_.blocks[at].name) return;
    const BlockHash name{0, uint64_t(Uniform(1, 20))};
    const bool taken = naive_.Holder(name).has_value();
    ASSERT_EQ(cache_.Insert(name, {}, BlockId(at)), !taken);
    if (!taken) naive_.blocks[at].name = name;
  }
  void Quarantine() {
    const int at = Pick(BlockState::kActive);
    if (at < 0 || naive_.blocks[at].name || naive_.blocks[at].references != 1) return;
    pool_.Quarantine(BlockId(at));
    naive_.blocks[at] = {.state = BlockState::kQuarantined};
  }
  void EndQuarantine() {
    const bool replaced = Uniform(0, 1) == 1;
    const int at = Pick(replaced ? BlockState::kReplaced : BlockState::kQuarantined);
    if (at < 0) return;
    pool_.EndQuarantine(BlockId(at));
    naive_.blocks[at] = {.state = replaced ? BlockState::kSpare : BlockState::kFree};
  }
  void Replace() {
    const int at = Pick(BlockState::kQuarantined);
    if (at < 0) return;
    const std::vector<int> spares = naive_.Where(BlockState::kSpare);
    ASSERT_EQ(pool_.Replace(BlockId(at)), !spares.empty());
    if (spares.empty()) return;
    naive_.blocks[at].state = BlockState::kReplaced;
    for (int spare : spares) {
      if (pool_.state(BlockId(spare)) == BlockState::kFree) naive_.blocks[spare] = {};
    }
    ASSERT_EQ(naive_.Count(BlockState::kSpare) + 1, int(spares.size()));
  }
  void PinOrUnpin() {
    const int at = Pick(Uniform(0, 1) == 0 ? BlockState::kActive : BlockState::kCached);
    if (at < 0 || !naive_.blocks[at].name) return;
    NaivePool::Block& block = naive_.blocks[at];
    if (block.pins > 0 && Uniform(0, 2) > 0) {
      pool_.Unpin(BlockId(at));
      if (--block.pins == 0) block.released = naive_.now;
    } else {
      pool_.Pin(BlockId(at));
      ++block.pins;
    }
  }

  void Compare() {
    const BlockPool::Counters& counters = pool_.counters();
    ASSERT_EQ(counters.free, naive_.Count(BlockState::kFree));
    ASSERT_EQ(counters.cached, naive_.Count(BlockState::kCached));
    ASSERT_EQ(counters.active, naive_.Count(BlockState::kActive));
    ASSERT_EQ(counters.quarantined, naive_.Count(BlockState::kQuarantined));
    ASSERT_EQ(counters.replaced, naive_.Count(BlockState::kReplaced));
    ASSERT_EQ(counters.spare, naive_.Count(BlockState::kSpare));
    ASSERT_EQ(counters.free + counters.cached + counters.active + counters.quarantined, size_);
    int named = 0;
    int allocatable = counters.free;
    for (int i = 0; i < size_ + spares_; ++i) {
      const NaivePool::Block& block = naive_.blocks[i];
      ASSERT_EQ(pool_.state(BlockId(i)), block.state);
      ASSERT_EQ(pool_.references(BlockId(i)), block.references);
      ASSERT_EQ(pool_.named(BlockId(i)), block.name.has_value());
      allocatable += block.state == BlockState::kCached && block.pins == 0;
      if (!block.name) continue;
      ++named;
      ASSERT_EQ(cache_.Find(*block.name), BlockId(i));
    }
    ASSERT_EQ(cache_.size(), named);
    ASSERT_EQ(pool_.allocatable(), allocatable);
  }

  std::mt19937_64 random_;
  const int size_;
  const int spares_;
  BlockPool pool_;
  PrefixCache cache_;
  NaivePool naive_;
};

TEST(BlockPoolPropertyTest, BehavesAsTheNaiveModelDoes) {
  for (uint64_t seed = 0; seed < 500; ++seed) {
    SCOPED_TRACE(seed);
    PoolAgainstNaive(seed).Run(400);
    if (HasFailure()) return;
  }
}

}  // namespace
}  // namespace baton::kv
