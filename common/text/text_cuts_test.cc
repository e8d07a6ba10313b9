#include "common/text/text_cuts.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/text/test_support.h"

namespace baton::text {
namespace {

std::vector<std::string> PartsOf(std::string_view text) {
  std::vector<std::string> parts;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = EndOfPart(text, begin);
    parts.emplace_back(text.substr(begin, end - begin));
    begin = end;
  }
  return parts;
}

TEST(TextCutsTest, ACutIsBehindABreakBetweenAVisibleCharacterAndALetter) {
  const std::string line(kPartBytesMin, '.');
  EXPECT_EQ(PartsOf(line + "\nword").size(), 2u);
  for (const char* seam : {"\n word", "\n\nword", " \nword", "\n1", "\n", "\n-", "\xc3\xb6\nword",
                           "\n\xc3\xb6", " word", "\r\nword"}) {
    EXPECT_EQ(PartsOf(line + seam).size(), 1u) << seam;
  }
  EXPECT_EQ(PartsOf(std::string(100, '.') + "\nword").size(), 1u) << "too short to be worth it";
}

TEST(TextCutsTest, TextsThatBeginAlikeHaveTheSamePartsSoFar) {
  std::string shared;
  for (int i = 0; i < 500; ++i) shared += "Line " + std::to_string(i) + " of a document.\n";
  const auto one = PartsOf(shared + "What is line 7?");
  const auto other = PartsOf(shared + "And how many\nare there\n" + shared);
  ASSERT_GT(one.size(), 3u);
  for (size_t i = 0; i + 1 < one.size(); ++i) EXPECT_EQ(one[i], other[i]);
}

// Breaks, blanks, punctuation, contractions, digits, control tokens and other scripts side by side.
std::string RandomText(std::mt19937& random) {
  static constexpr const char* kBits[] = {"\n",
                                          "\n",
                                          "\n\n",
                                          "\r\n",
                                          " ",
                                          "  ",
                                          "\t",
                                          "a",
                                          "Word",
                                          "it's",
                                          "we'll",
                                          ".",
                                          "!?",
                                          "--",
                                          "/",
                                          "12",
                                          "3",
                                          "\xc3\xb6",
                                          "\xe8\xaf\xb7",
                                          "e\xcc\x81",
                                          "\xf0\x9f\x9a\x80",
                                          "<|im_start|>",
                                          "<|im_end|>",
                                          "<|",
                                          "\xc2\xa0",
                                          "\xe2\x80\xa8",
                                          "\x0b",
                                          "_",
                                          "\"",
                                          "'",
                                          "'s",
                                          "x\ny",
                                          ".\nThe",
                                          ")\nif"};
  std::string text;
  while (text.size() < 3 * kPartBytesMin) text += kBits[random() % std::size(kBits)];
  return text;
}

// One's parts come from the cache at the second time, another's are encoded whole.
TEST(TextCutsTest, ATextInPartsHasTheTokensOfTheWhole) {
  std::mt19937 random(7);
  int cut = 0;
  for (const char* name : kTestTokenizers) {
    const auto tokenizer = TestTokenizer(name);
    for (int round = 0; round < 60; ++round) {
      const std::string text = RandomText(random);
      // Never cut: something is added, or control tokens are text.
      const auto whole = tokenizer->Encode(text, {.add_special_tokens = true});
      const auto bare = tokenizer->Encode("", {.add_special_tokens = true});
      ASSERT_TRUE(whole.ok() && bare.ok());
      for (int time = 0; time < 2; ++time) {
        const auto parts = tokenizer->Encode(text, {.add_special_tokens = false});
        ASSERT_TRUE(parts.ok());
        const size_t added = whole->size() - parts->size();
        ASSERT_EQ(added, bare->size()) << name << " " << round;
        ASSERT_TRUE(std::equal(parts->begin(), parts->end(), whole->begin() + ptrdiff_t(added)))
            << name << " " << round;
      }
      cut += PartsOf(text).size() > 1;
    }
  }
  EXPECT_GT(cut, 100);
}

TEST(TextCutsTest, ABadByteIsNamedByItsPlaceInTheWholeText) {
  const auto tokenizer = TestTokenizer("byte_level");
  const std::string text = std::string(5000, '.') + "\nword " + std::string(3000, 'x') + "\xff";
  const auto refused = tokenizer->Encode(text, {.add_special_tokens = false});
  EXPECT_THAT(std::string(refused.status().message()),
              testing::HasSubstr(std::to_string(text.size() - 1)));
}

}  // namespace
}  // namespace baton::text
