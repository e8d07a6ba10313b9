#include "kernels/cuda/backend/staging.h"

#include <gtest/gtest.h>

#include <cstring>
#include <vector>

namespace baton::kernels::cuda {
namespace {

class CudaStagingTest : public ::testing::Test {
 protected:
  CudaStagingTest() : host_(2048), device_(1024), staging_(host_.data(), device_.data(), 1024) {}

  Staging::Room Put(const std::string& text) {
    const Staging::Room room = staging_.Take(text.size());
    std::memcpy(room.host, text.data(), text.size());
    staging_.Remember(room, text.size());
    return room;
  }

  std::vector<std::byte> host_, device_;
  Staging staging_;
};

TEST_F(CudaStagingTest, RoomEndsAndComesBack) {
  EXPECT_EQ(staging_.Take(257).device, device_.data());
  EXPECT_EQ(staging_.Take(1).device, device_.data() + 512);
  EXPECT_EQ(staging_.Take(257).host, nullptr);
  EXPECT_NE(staging_.Take(256).host, nullptr);
  EXPECT_EQ(staging_.Take(1).host, nullptr);
  staging_.Reset();
  EXPECT_EQ(staging_.Take(1024).host, host_.data());
}

TEST_F(CudaStagingTest, WhatWasUploadedIsFoundUntilTheReset) {
  const Staging::Room room = Put("positions");
  Put("tables");
  EXPECT_EQ(staging_.Find("positions", 9), room.device);
  EXPECT_EQ(staging_.Find("position", 8), nullptr);
  EXPECT_EQ(staging_.Find("positionz", 9), nullptr);
  staging_.Reset();
  EXPECT_EQ(staging_.Find("positions", 9), nullptr);
}

TEST_F(CudaStagingTest, TheNextStepHasTheSamePlacesOnTheDeviceAndOthersOnTheHost) {
  const Staging::Room first = Put("positions");
  staging_.Flip();
  EXPECT_EQ(staging_.Find("positions", 9), nullptr);
  const Staging::Room second = Put("others");
  EXPECT_EQ(second.device, first.device);
  EXPECT_EQ(second.host, first.host + 1024);
  EXPECT_EQ(std::memcmp(first.host, "positions", 9), 0) << "its copy may still be to come";
  staging_.Flip();
  EXPECT_EQ(Put("and so on").host, first.host);
}

TEST_F(CudaStagingTest, TheLatestUploadsAreRemembered) {
  std::vector<std::byte> host(2 << 16), device(1 << 16);
  staging_ = Staging(host.data(), device.data(), device.size());
  for (int i = 0; i < 20; ++i) Put(std::string(1, char('a' + i)));
  EXPECT_EQ(staging_.Find("a", 1), nullptr);
  EXPECT_NE(staging_.Find("t", 1), nullptr);
}

}  // namespace
}  // namespace baton::kernels::cuda
