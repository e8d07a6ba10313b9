#include "common/worker/kv_memory.h"

#include <gtest/gtest.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <vector>

namespace baton::worker {
namespace {

// A pool in a System V segment, as the transport makes it, mapped twice: by its owner and a peer.
class KvMemoryTest : public ::testing::Test {
 protected:
  KvMemoryTest() {
    const int id = shmget(IPC_PRIVATE, pool_.bytes(), IPC_CREAT | 0600);
    pool_.first.base = static_cast<std::byte*>(shmat(id, nullptr, 0));
    peer_ = static_cast<std::byte*>(shmat(id, nullptr, 0));
    shmctl(id, IPC_RMID, nullptr);
    std::memset(pool_.first.base, 7, pool_.bytes());
  }
  ~KvMemoryTest() override {
    shmdt(pool_.first.base);
    shmdt(peer_);
  }

  // Whole pages in memory, of one layer of one block.
  int64_t PagesOf(int32_t rank, int32_t layer, int32_t block) const {
    const kernels::KvView share = pool_.rank(rank);
    std::vector<unsigned char> resident(share.block_layer_bytes() / getpagesize());
    mincore(share.piece(layer, block), share.block_layer_bytes(), resident.data());
    return std::count_if(resident.begin(), resident.end(), [](auto r) { return (r & 1) != 0; });
  }

  kernels::KvShares pool_ = kernels::KvShares({.dtype = kernels::DType::kF32,
                                               .num_layers = 3,
                                               .num_blocks = 8,
                                               .block_tokens = 16,
                                               .num_kv_heads = 2,
                                               .head_dim = 64},
                                              /*ranks=*/2, /*kv_heads=*/4);
  std::byte* peer_ = nullptr;
};

TEST_F(KvMemoryTest, BlocksGivenBackTakeNoMemoryAndTheOthersKeepTheirs) {
  const std::vector<BlockId> blocks = {BlockId(5), BlockId(2), BlockId(4)};
  DropKvMemory(pool_, blocks);
  const int64_t whole = int64_t(pool_.first.block_layer_bytes()) / getpagesize();
  ASSERT_GE(whole, 4);
  for (int32_t rank = 0; rank < 2; ++rank) {
    for (int32_t layer = 0; layer < 3; ++layer) {
      for (int32_t block = 0; block < 8; ++block) {
        const bool dropped = block == 2 || block == 4 || block == 5;
        EXPECT_EQ(PagesOf(rank, layer, block), dropped ? 0 : whole) << rank << layer << block;
        EXPECT_EQ(pool_.rank(rank).piece(layer, block)[1], std::byte(dropped ? 0 : 7));
      }
    }
  }
}

TEST_F(KvMemoryTest, WhatAPeerWritesLaterIsSeenByTheOwner) {
  const std::vector<BlockId> blocks = {BlockId(3)};
  DropKvMemory(pool_, blocks);
  peer_[pool_.first.offset(1, 3)] = std::byte(9);
  EXPECT_EQ(pool_.first.piece(1, 3)[0], std::byte(9));
  EXPECT_EQ(PagesOf(0, 1, 3), 1);
}

}  // namespace
}  // namespace baton::worker
