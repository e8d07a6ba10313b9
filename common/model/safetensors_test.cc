#include "common/model/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <string>

namespace baton::model {
namespace {

using testing::AllOf;
using testing::HasSubstr;

// A file with this header text and `data_bytes` of data.
std::string File(const std::string& header, size_t data_bytes) {
  std::string file;
  for (int i = 0; i < 8; ++i) file += char(header.size() >> (8 * i));
  return file + header + std::string(data_bytes, '\x11');
}

absl::StatusOr<SafetensorsHeader> Parse(const std::string& file) {
  return ParseSafetensorsHeader(std::as_bytes(std::span(file.data(), file.size())));
}

std::string Tensor(const std::string& name, const std::string& dtype, const std::string& shape,
                   const std::string& offsets) {
  return "\"" + name + "\":{\"dtype\":\"" + dtype + "\",\"shape\":" + shape +
         ",\"data_offsets\":" + offsets + "}";
}

std::string ErrorFor(const std::string& tensors, size_t data_bytes) {
  const auto header = Parse(File("{" + tensors + "}", data_bytes));
  return header.ok() ? "no error" : MessageOf(header.status());
}

const char* const kTwoByThree = "[2,3]";

TEST(SafetensorsTest, ReadsTensorsWhereverTheyLie) {
  const auto header =
      Parse(File("{\"__metadata__\":{\"format\":\"pt\"}," + Tensor("b", "BF16", "[4]", "[24,32]") +
                     "," + Tensor("a", "F32", kTwoByThree, "[0,24]") + "," +
                     Tensor("one", "I64", "[]", "[32,40]") + "}   ",
                 40));
  ASSERT_TRUE(header.ok()) << header.status();
  ASSERT_EQ(header->tensors.size(), 3u);
  const SafetensorsEntry& b = header->tensors.at("b");
  EXPECT_EQ(b.dtype, "BF16");
  EXPECT_EQ(b.shape, std::vector<int64_t>{4});
  EXPECT_EQ(b.begin, header->data_begin + 24);
  EXPECT_EQ(b.end, header->data_begin + 32);
}

TEST(SafetensorsTest, HeaderLengthsThatCannotBeAreRefused) {
  EXPECT_THAT(MessageOf(Parse("").status()), HasSubstr("too short"));
  EXPECT_THAT(MessageOf(Parse("1234567").status()), HasSubstr("too short"));
  EXPECT_THAT(MessageOf(Parse(std::string(8, '\xff')).status()),
              AllOf(HasSubstr("18446744073709551615"), HasSubstr("absurd")));
  std::string cut = File("{}", 0);
  cut[0] = 100;
  EXPECT_THAT(MessageOf(Parse(cut).status()), HasSubstr("exceeds the file of 10 bytes"));
  EXPECT_THAT(MessageOf(Parse(File("{\"a\":", 0)).status()), HasSubstr("not valid JSON"));
}

TEST(SafetensorsTest, ATruncatedFileNamesTheTensorThatSuffers) {
  EXPECT_THAT(ErrorFor(Tensor("model.norm", "F32", kTwoByThree, "[0,24]"), 23),
              AllOf(HasSubstr("tensor model.norm"), HasSubstr("truncated")));
}

TEST(SafetensorsTest, ShapeTypeAndOffsetsMustAgree) {
  EXPECT_THAT(ErrorFor(Tensor("w", "F32", kTwoByThree, "[0,20]"), 20),
              AllOf(HasSubstr("tensor w"), HasSubstr("[2,3] of F32 takes 24")));
  EXPECT_THAT(ErrorFor(Tensor("w", "F32", "[-1]", "[0,4]"), 4), HasSubstr("not a whole number"));
  EXPECT_THAT(ErrorFor(Tensor("w", "F32", "[1099511627776,1099511627776]", "[0,4]"), 4),
              HasSubstr("overflows"));
  EXPECT_THAT(ErrorFor(Tensor("w", "F32", "[1e30]", "[0,4]"), 4), HasSubstr("not a whole number"));
  EXPECT_THAT(ErrorFor(Tensor("w", "F32", "[1]", "[4,0]"), 4), HasSubstr("backwards"));
  EXPECT_THAT(ErrorFor(Tensor("w", "F32", "[1]", "[0]"), 4), HasSubstr("not a pair"));
  EXPECT_THAT(ErrorFor(Tensor("w", "F32", "[1,1,1,1,1,1,1,1,1]", "[0,4]"), 4),
              HasSubstr("at most 8"));
  EXPECT_THAT(ErrorFor("\"w\":[]", 0), HasSubstr("tensor w"));
}

TEST(SafetensorsTest, TensorsNeitherOverlapNorLeaveHoles) {
  const std::string a = Tensor("a", "F32", "[2]", "[0,8]");
  EXPECT_THAT(ErrorFor(a + "," + Tensor("b", "F32", "[1]", "[4,8]"), 8),
              AllOf(HasSubstr("tensor b"), HasSubstr("overlaps")));
  EXPECT_THAT(ErrorFor(a + "," + Tensor("b", "F32", "[1]", "[12,16]"), 16),
              AllOf(HasSubstr("tensor b"), HasSubstr("belong to no tensor")));
  EXPECT_THAT(ErrorFor(a, 12), HasSubstr("4 bytes at the end"));
}

TEST(SafetensorsTest, AnyFlippedByteIsReadOrRefusedButNeverFollowedOutside) {
  const std::string good = File("{" + Tensor("a", "F32", kTwoByThree, "[0,24]") + "," +
                                    Tensor("b", "F16", "[2,2]", "[24,32]") + "}",
                                32);
  ASSERT_TRUE(Parse(good).ok());
  std::mt19937 random(5);
  for (int round = 0; round < 20000; ++round) {
    std::string bad = good;
    for (int flips = 1 + int(random() % 3); flips > 0; --flips) {
      bad[random() % bad.size()] = char(random());
    }
    bad.resize(random() % 8 == 0 ? random() % bad.size() : bad.size());
    const auto header = Parse(bad);
    if (!header.ok()) continue;
    for (const auto& [name, entry] : header->tensors) {
      ASSERT_LE(entry.begin, entry.end);
      ASSERT_LE(entry.end, bad.size());
    }
  }
}

}  // namespace
}  // namespace baton::model
