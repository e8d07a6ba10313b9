#include "common/transfer/ucx/remote_key.h"

#include <random>

#include "gtest/gtest.h"

namespace baton::transfer {
namespace {

RemoteKey SomeKey() {
  RemoteKey key{0x7f0012345000, 1 << 20, {}};
  key.keys[Path::kSharedMemory] = std::string("sh\0m", 4);
  key.keys[Path::kNetwork] = "network";
  return key;
}

TEST(RemoteKeyTest, SurvivesTheJourney) {
  const std::optional<RemoteKey> back = RemoteKey::Unpack(SomeKey().Pack());
  ASSERT_TRUE(back);
  EXPECT_EQ(back->address, SomeKey().address);
  EXPECT_EQ(back->bytes, SomeKey().bytes);
  EXPECT_EQ(back->keys.blobs, SomeKey().keys.blobs);
}

TEST(RemoteKeyTest, AMissingPathStaysMissing) {
  RemoteKey key = SomeKey();
  key.keys[Path::kSharedMemory].clear();
  EXPECT_TRUE(RemoteKey::Unpack(key.Pack())->keys[Path::kSharedMemory].empty());
}

TEST(RemoteKeyTest, EveryTruncationAndEveryExtensionIsRefused) {
  const std::string packed = SomeKey().Pack();
  for (size_t bytes = 0; bytes < packed.size(); ++bytes) {
    EXPECT_FALSE(RemoteKey::Unpack(packed.substr(0, bytes))) << bytes;
  }
  EXPECT_FALSE(RemoteKey::Unpack(packed + '\0'));
}

TEST(RemoteKeyTest, RandomBytesNeverReadPastTheirEnd) {
  std::mt19937 random(1);
  for (int round = 0; round < 20000; ++round) {
    std::string bytes(random() % 64, '\0');
    for (char& byte : bytes) byte = static_cast<char>(random() % 4 == 0 ? random() : 0);
    const std::optional<RemoteKey> key = RemoteKey::Unpack(bytes);
    if (key) {
      EXPECT_EQ(key->Pack(), bytes);
    }
  }
}

TEST(RemoteKeyTest, HoldsExactlyTheRegion) {
  const RemoteKey key{1000, 100, {}};
  EXPECT_TRUE(key.Holds(1000, 100));
  EXPECT_TRUE(key.Holds(1100, 0));
  EXPECT_TRUE(key.Holds(1099, 1));
  EXPECT_FALSE(key.Holds(999, 1));
  EXPECT_FALSE(key.Holds(1099, 2));
  EXPECT_FALSE(key.Holds(1101, 0));
  EXPECT_FALSE(key.Holds(1050, ~uint64_t{0})) << "no overflow";
  EXPECT_FALSE(key.Holds(~uint64_t{0}, 2)) << "no overflow";
}

}  // namespace
}  // namespace baton::transfer
