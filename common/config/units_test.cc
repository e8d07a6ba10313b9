#include "common/config/units.h"

#include "common/config/address.h"
#include "common/config/suggestion.h"
#include "gtest/gtest.h"

namespace baton::config {
namespace {

TEST(BytesTest, UnitsScaleAsTheyAreNamed) {
  EXPECT_EQ(ParseBytes("512MiB")->count, 512LL << 20);
  EXPECT_EQ(ParseBytes("1.5 GiB")->count, 3LL << 29);
  EXPECT_EQ(ParseBytes("64kb")->count, 64000);
  EXPECT_EQ(ParseBytes("0")->count, 0);
  EXPECT_EQ(ParseBytes("7B")->count, 7);
}

TEST(BytesTest, WhatHasNoUnitOrNoSenseIsRefused) {
  for (const char* text : {"", "512", "MiB", "-1MiB", "1 parsec", "1MiB2", "nan MiB", "1e400GiB",
                           "99999999TiB", "inf"}) {
    EXPECT_FALSE(ParseBytes(text).ok()) << text;
  }
}

TEST(BytesTest, FormattingReadsBackExactly) {
  for (int64_t count : {0LL, 1LL, 1000LL, 1024LL, 1536LL, 1LL << 20, (1LL << 30) + 1, 5LL << 40}) {
    EXPECT_EQ(ParseBytes(BytesText({count}))->count, count) << BytesText({count});
  }
}

TEST(DurationTest, UnitsScaleAsTheyAreNamed) {
  EXPECT_EQ(*ParseDuration("250ms"), absl::Milliseconds(250));
  EXPECT_EQ(*ParseDuration("0.1s"), absl::Milliseconds(100));
  EXPECT_EQ(*ParseDuration("2m"), absl::Minutes(2));
  EXPECT_EQ(*ParseDuration("1h"), absl::Hours(1));
  EXPECT_EQ(*ParseDuration("0"), absl::ZeroDuration());
  for (const char* text : {"5", "s", "-1s", "5sec", "1m30s", "1e9h"}) {
    EXPECT_FALSE(ParseDuration(text).ok()) << text;
  }
}

TEST(DurationTest, FormattingReadsBackExactly) {
  for (int64_t us : {0LL, 1LL, 1500LL, 250000LL, 1000000LL, 90000000LL, 3600000000LL}) {
    EXPECT_EQ(*ParseDuration(DurationText(absl::Microseconds(us))), absl::Microseconds(us));
  }
}

TEST(AddressTest, HostsAndPortsAreToldApart) {
  EXPECT_EQ(*ParseAddress("127.0.0.1:8000"), (Address{"127.0.0.1", 8000}));
  EXPECT_EQ(*ParseAddress("[::1]:9000"), (Address{"::1", 9000}));
  EXPECT_EQ(*ParseAddress(":80"), (Address{"0.0.0.0", 80}));
  EXPECT_EQ(ParseAddress("[::1]:9000")->text(), "[::1]:9000");
  for (const char* text : {"", "localhost", "a:b", "a:70000", "::1:80", "a b:1", "a:-1", "[]:1"}) {
    EXPECT_FALSE(ParseAddress(text).ok()) << text;
  }
}

TEST(SuggestionTest, NearWordsAreSuggestedAndFarOnesAreNot) {
  const std::vector<std::string> words = {"batch_sequences_max", "kv_memory", "threads"};
  EXPECT_EQ(Nearest("kv_memroy", words), "kv_memory");
  EXPECT_EQ(Nearest("thread", words), "threads");
  EXPECT_EQ(Nearest("batch", words), "batch_sequences_max");
  EXPECT_EQ(Nearest("zzzz", words), "");
}

}  // namespace
}  // namespace baton::config
