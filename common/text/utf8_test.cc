#include "common/text/utf8.h"

#include <random>

#include "gtest/gtest.h"

namespace baton::text {
namespace {

std::string Encoded(uint32_t code_point) {
  const auto tail = [&](int shift) {
    return static_cast<char>(0x80 | ((code_point >> shift) & 0x3F));
  };
  if (code_point < 0x80) return {static_cast<char>(code_point)};
  if (code_point < 0x800) return {static_cast<char>(0xC0 | code_point >> 6), tail(0)};
  if (code_point < 0x10000) return {static_cast<char>(0xE0 | code_point >> 12), tail(6), tail(0)};
  return {static_cast<char>(0xF0 | code_point >> 18), tail(12), tail(6), tail(0)};
}

bool IsSurrogate(uint32_t code_point) { return code_point >= 0xD800 && code_point < 0xE000; }

TEST(Utf8Test, EveryScalarValueIsValidAndEverySurrogateIsNot) {
  for (uint32_t code_point = 0; code_point < 0x110000; ++code_point) {
    const bool valid = !FirstInvalidUtf8(Encoded(code_point)).has_value();
    ASSERT_EQ(valid, !IsSurrogate(code_point)) << code_point;
  }
}

TEST(Utf8Test, NothingAboveTheLastCodePointIsValid) {
  EXPECT_TRUE(FirstInvalidUtf8(Encoded(0x110000)).has_value());
  EXPECT_TRUE(FirstInvalidUtf8("\xF5\x80\x80\x80").has_value());
}

TEST(Utf8Test, OnlyTheShortestFormIsValid) {
  // The three-byte strings that are one character are exactly U+0800 … U+FFFF less the surrogates.
  size_t valid = 0;
  for (uint32_t bytes = 0xE00000; bytes < 0xF00000; ++bytes) {
    const std::string text = {static_cast<char>(bytes >> 16), static_cast<char>(bytes >> 8),
                              static_cast<char>(bytes)};
    valid += !FirstInvalidUtf8(text).has_value();
  }
  EXPECT_EQ(valid, 0x10000u - 0x800u - 0x800u);
  EXPECT_EQ(FirstInvalidUtf8("\xC0\xAF"), 0u);
  EXPECT_EQ(FirstInvalidUtf8("\xF0\x8F\xBF\xBF"), 0u);
}

TEST(Utf8Test, TheFirstBadByteIsFoundAtAnyOffset) {
  for (size_t offset = 0; offset < 40; ++offset) {
    const std::string text = std::string(offset, 'x') + "\xFF" + std::string(20, 'y');
    EXPECT_EQ(FirstInvalidUtf8(text), offset);
    EXPECT_EQ(FirstInvalidUtf8(std::string(offset, 'x')), std::nullopt);
  }
  EXPECT_EQ(FirstInvalidUtf8("aé\xE2\x82"), 3u);  // cut off
}

TEST(Utf8Test, EachMaximalIllFormedPieceBecomesOneReplacement) {
  EXPECT_EQ(ToValidUtf8("a\xF0\x9F\x9A"
                        "b"),
            "a\uFFFDb");
  EXPECT_EQ(ToValidUtf8("\xF0\x9F\x9A"), "\uFFFD");
  EXPECT_EQ(ToValidUtf8("\xED\xA0\x80"), "\uFFFD\uFFFD\uFFFD");
  EXPECT_EQ(ToValidUtf8("\x80\xE9\xC3\xA9\xFF"), "\uFFFD\uFFFDé\uFFFD");
  EXPECT_EQ(ToValidUtf8("\xE2\x82\xE2\x82\xAC"), "\uFFFD€");
}

TEST(Utf8Test, BytesArrivingOneByOneGiveTheSameText) {
  std::mt19937 random(3);
  const std::string alphabet = "a\xC3\xA9\xE2\x82\xAC\xF0\x9F\x9A\x80\xED\xFF";
  for (int round = 0; round < 20000; ++round) {
    std::string bytes(random() % 12, '\0');
    for (char& byte : bytes) byte = alphabet[random() % alphabet.size()];
    std::string out, pending;
    for (const char byte : bytes) {
      pending.push_back(byte);
      pending.erase(0, AppendCompleteUtf8(pending, out));
      ASSERT_LE(pending.size(), 3u);
      ASSERT_EQ(FirstInvalidUtf8(out), std::nullopt);
    }
    ASSERT_EQ(out + ToValidUtf8(pending), ToValidUtf8(bytes));
  }
}

}  // namespace
}  // namespace baton::text
