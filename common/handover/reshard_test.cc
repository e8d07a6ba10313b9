#include "common/handover/reshard.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <random>

#include "kernels/checksum.h"

namespace baton::handover {
namespace {

using kernels::KvHeadsOf;
using kernels::KvShares;
using kernels::KvView;
using ::testing::ElementsAre;

// A pool in memory of its own, divided among ranks; each byte of K and V is a function of its place
// in the whole model's layout.
class Pool {
 public:
  Pool(const KvView& whole, int32_t num_ranks, int32_t num_blocks)
      : memory_(size_t(num_ranks) * ShareOf(whole, num_ranks, num_blocks).pool_bytes(),
                std::byte{0xee}) {
    KvView share = ShareOf(whole, num_ranks, num_blocks);
    share.base = memory_.data();
    shares_ = KvShares(share, num_ranks, whole.num_kv_heads);
  }

  const KvShares& shares() const { return shares_; }
  std::vector<std::byte>& memory() { return memory_; }

  void Fill(int32_t block, uint64_t seed) {
    ForEachHead(block, [&](int32_t layer, bool value, int32_t head, std::byte* bytes) {
      const std::vector<std::byte> wanted = HeadBytes(seed, layer, value, head);
      std::memcpy(bytes, wanted.data(), wanted.size());
    });
  }
  // Heads of the block, on whatever rank, that do not hold what Fill(seed) writes.
  int WrongHeads(int32_t block, uint64_t seed) {
    int wrong = 0;
    ForEachHead(block, [&](int32_t layer, bool value, int32_t head, const std::byte* bytes) {
      const std::vector<std::byte> wanted = HeadBytes(seed, layer, value, head);
      wrong += std::memcmp(bytes, wanted.data(), wanted.size()) != 0;
    });
    return wrong;
  }

 private:
  static KvView ShareOf(KvView whole, int32_t num_ranks, int32_t num_blocks) {
    whole.num_kv_heads = KvHeadsOf(whole.num_kv_heads, 0, num_ranks).count;
    whole.num_blocks = num_blocks;
    return whole;
  }

  std::vector<std::byte> HeadBytes(uint64_t seed, int32_t layer, bool value, int32_t head) const {
    std::vector<std::byte> bytes(shares_.first.head_bytes());
    std::mt19937_64 random(seed * 1'000'003 + uint64_t(layer) * 1009 + uint64_t(head) * 2 + value);
    for (std::byte& b : bytes) b = std::byte(random());
    return bytes;
  }

  // Written from the layout's definition, not with the code that is tested.
  template <typename Fn>
  void ForEachHead(int32_t block, const Fn& fn) {
    for (int32_t rank = 0; rank < shares_.num_ranks; ++rank) {
      const kernels::KvHeads own = KvHeadsOf(shares_.num_kv_heads, rank, shares_.num_ranks);
      for (int32_t layer = 0; layer < shares_.num_layers(); ++layer) {
        for (const bool value : {false, true}) {
          for (int32_t i = 0; i < own.count; ++i) {
            const size_t share = size_t(rank) * shares_.first.pool_bytes();
            const size_t row = (size_t(layer) * shares_.num_blocks() + block) * 2 + value;
            const size_t head = row * own.count + i;
            fn(layer, value, own.first + i,
               memory_.data() + share + head * shares_.first.head_bytes());
          }
        }
      }
    }
  }

  std::vector<std::byte> memory_;
  KvShares shares_;
};

// What a Sender puts, without a transport.
void Carry(const KvShares& from, int32_t from_block, const KvShares& to, int32_t to_block) {
  for (const KvPiece& piece : PlanReshard(LayoutOf(from), LayoutOf(to))) {
    for (int32_t layer = 0; layer < from.num_layers(); ++layer) {
      std::memcpy(to.rank(piece.to_rank).piece(layer, to_block) + piece.to_offset,
                  from.rank(piece.from_rank).piece(layer, from_block) + piece.from_offset,
                  piece.bytes);
    }
  }
}

using Case = std::tuple<int32_t, int32_t, int32_t, int32_t, kernels::DType>;

// Ranks of the source, of the destination, KV heads, tokens of a block, precision.
class ReshardTest : public ::testing::TestWithParam<Case> {
 protected:
  KvView whole() const {
    const auto [from, to, heads, block_tokens, dtype] = GetParam();
    return {.dtype = dtype,
            .num_layers = 2,
            .num_blocks = 4,
            .block_tokens = block_tokens,
            .num_kv_heads = heads,
            .head_dim = 8};
  }
  Pool from_{whole(), std::get<0>(GetParam()), 3};
  Pool to_{whole(), std::get<1>(GetParam()), 4};
};

TEST_P(ReshardTest, EveryByteComesToItsPlaceAndNoOtherIsTouched) {
  from_.Fill(2, 77);
  to_.Fill(1, 5);
  const std::vector<std::byte> before = to_.memory();
  Carry(from_.shares(), 2, to_.shares(), 1);
  EXPECT_EQ(to_.WrongHeads(1, 77), 0);
  to_.Fill(1, 5);
  EXPECT_TRUE(to_.memory() == before) << "another block was written to";
}

TEST_P(ReshardTest, EachDestinationByteIsInExactlyOnePiece) {
  const size_t share_bytes = to_.shares().first.block_layer_bytes();
  std::vector<std::vector<int>> times(size_t(to_.shares().num_ranks),
                                      std::vector<int>(share_bytes, 0));
  for (const KvPiece& piece : PlanReshard(LayoutOf(from_.shares()), LayoutOf(to_.shares()))) {
    ASSERT_LE(piece.to_offset + piece.bytes, share_bytes);
    ASSERT_LE(piece.from_offset + piece.bytes, from_.shares().first.block_layer_bytes());
    for (size_t i = 0; i < piece.bytes; ++i) ++times[size_t(piece.to_rank)][piece.to_offset + i];
  }
  for (const auto& rank : times) EXPECT_THAT(rank, ::testing::Each(1));
}

TEST_P(ReshardTest, ChecksumsDoNotDependOnHowAPoolIsDivided) {
  Pool single(whole(), 1, 2);
  single.Fill(1, 77);
  from_.Fill(2, 77);
  const BlockChecksummer sums(from_.shares());
  for (int32_t layer = 0; layer < 2; ++layer) {
    const uint64_t expected = kernels::Checksum(single.shares().first.piece(layer, 1),
                                                single.shares().first.block_layer_bytes());
    for (int32_t copy = 0; copy < from_.shares().num_copies(); ++copy) {
      EXPECT_EQ(sums.Of(layer, 2, copy), expected);
    }
  }
}

// One wrong byte on any rank is in some copy's checksum.
TEST_P(ReshardTest, NoByteOfAnyRankEscapesTheChecksums) {
  from_.Fill(0, 77);
  const BlockChecksummer sums(from_.shares());
  const uint64_t expected = sums.Of(1, 0);
  const size_t bytes = from_.shares().first.block_layer_bytes();
  for (int32_t rank = 0; rank < from_.shares().num_ranks; ++rank) {
    for (const size_t at : {size_t{0}, bytes / 2, bytes - 1}) {
      std::byte& byte = from_.shares().rank(rank).piece(1, 0)[at];
      byte ^= std::byte{1};
      bool found = false;
      for (int32_t copy = 0; copy < from_.shares().num_copies(); ++copy) {
        found |= sums.Of(1, 0, copy) != expected;
      }
      EXPECT_TRUE(found) << "rank " << rank << " byte " << at;
      byte ^= std::byte{1};
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    AllPairs, ReshardTest,
    ::testing::Combine(::testing::Values(1, 2, 4, 8), ::testing::Values(1, 2, 4, 8),
                       ::testing::Values(1, 2, 4, 8, 16), ::testing::Values(16, 32),
                       ::testing::Values(kernels::DType::kF32, kernels::DType::kBF16,
                                         kernels::DType::kInt8)));

TEST(ReshardPlanTest, EqualSidesTakeOnePieceForEachRank) {
  const KvLayout two{.num_kv_heads = 8, .head_bytes = 100, .num_ranks = 2};
  EXPECT_THAT(PlanReshard(two, two),
              ElementsAre(KvPiece{0, 0, 0, 0, 800}, KvPiece{1, 1, 0, 0, 800}));
  const KvLayout copies{.num_kv_heads = 1, .head_bytes = 100, .num_ranks = 2};
  EXPECT_THAT(PlanReshard(copies, copies),
              ElementsAre(KvPiece{0, 0, 0, 0, 200}, KvPiece{1, 1, 0, 0, 200}));
}

TEST(ReshardPlanTest, AShardIsTwoPiecesOfAWholeBlock) {
  const KvLayout one{.num_kv_heads = 8, .head_bytes = 100, .num_ranks = 1};
  const KvLayout two{.num_kv_heads = 8, .head_bytes = 100, .num_ranks = 2};
  EXPECT_THAT(PlanReshard(one, two),
              ElementsAre(KvPiece{0, 0, 0, 0, 400}, KvPiece{0, 0, 800, 400, 400},
                          KvPiece{0, 1, 400, 0, 400}, KvPiece{0, 1, 1200, 400, 400}));
  EXPECT_THAT(PlanReshard(two, one),
              ElementsAre(KvPiece{0, 0, 0, 0, 400}, KvPiece{1, 0, 0, 400, 400},
                          KvPiece{0, 0, 400, 800, 400}, KvPiece{1, 0, 400, 1200, 400}));
}

TEST(ReshardPlanTest, ReadersAreSpreadOverTheCopiesOfAHead) {
  const KvLayout from{.num_kv_heads = 2, .head_bytes = 100, .num_ranks = 8};
  const KvLayout to{.num_kv_heads = 2, .head_bytes = 100, .num_ranks = 4};
  std::vector<int32_t> sources;
  for (const KvPiece& piece : PlanReshard(from, to)) sources.push_back(piece.from_rank);
  EXPECT_THAT(sources, ElementsAre(0, 2, 4, 6));
}

}  // namespace
}  // namespace baton::handover
