#include "common/text/incremental_detokenizer.h"

#include "common/text/test_support.h"
#include "common/text/utf8.h"

namespace baton::text {
namespace {

using Ids = std::vector<int32_t>;

std::string Streamed(const Tokenizer& tokenizer, const Ids& ids,
                     const IncrementalDetokenizer::Options& options = {}) {
  IncrementalDetokenizer detokenizer(tokenizer, options);
  std::string text;
  for (const int32_t id : ids) {
    const std::string piece = detokenizer.Push(id);
    EXPECT_EQ(FirstInvalidUtf8(piece), std::nullopt);
    text += piece;
  }
  const std::string rest = detokenizer.Finish();
  EXPECT_EQ(FirstInvalidUtf8(rest), std::nullopt);
  return text + rest;
}

class IncrementalDetokenizerTest : public testing::TestWithParam<const char*> {
 protected:
  const std::unique_ptr<Tokenizer> tokenizer_ = TestTokenizer(GetParam());
};
INSTANTIATE_TEST_SUITE_P(All, IncrementalDetokenizerTest, testing::ValuesIn(kTestTokenizers),
                         [](const auto& info) { return std::string(info.param); });

TEST_P(IncrementalDetokenizerTest, AllPiecesTogetherAreTheWholeText) {
  std::mt19937 random(5);
  for (int round = 0; round < 5000; ++round) {
    const Ids ids = RandomIds(*tokenizer_, random() % 24, random);
    for (const bool skip : {true, false}) {
      ASSERT_EQ(Streamed(*tokenizer_, ids, {.skip_special = skip}), tokenizer_->Decode(ids, skip))
          << testing::PrintToString(ids);
    }
  }
}

TEST_P(IncrementalDetokenizerTest, AContinuationIsTheTextAfterThePrompt) {
  std::mt19937 random(6);
  for (const std::string prompt : {"The router", "", "ends in a blank "}) {
    const Ids context = *tokenizer_->Encode(prompt, /*add_special_tokens=*/true);
    for (int round = 0; round < 500; ++round) {
      const Ids ids = RandomIds(*tokenizer_, random() % 12, random);
      Ids all = context;
      all.insert(all.end(), ids.begin(), ids.end());
      const std::string before = tokenizer_->Decode(context, /*skip_special=*/true);
      ASSERT_EQ(before + Streamed(*tokenizer_, ids, {.context = context}),
                tokenizer_->Decode(all, /*skip_special=*/true));
    }
  }
}

TEST_P(IncrementalDetokenizerTest, ACharacterComesWithItsLastByteAndNotBefore) {
  const Ids ids = *tokenizer_->Encode("x👨‍👩‍👧请y", /*add_special_tokens=*/false);
  IncrementalDetokenizer detokenizer(*tokenizer_, {});
  std::string bytes, text;
  for (const int32_t id : ids) {
    bytes += tokenizer_->TokenBytes(id);
    text += detokenizer.Push(id);
    // What is out is all that could be: the rest is the beginning of one character.
    const size_t leading = bytes.size() - bytes.find('x');
    ASSERT_LE(leading - text.size(), 3u);
  }
  EXPECT_EQ(text, "x👨‍👩‍👧请y");
  EXPECT_EQ(detokenizer.Finish(), "");
}

TEST(IncrementalDetokenizerEdgeTest, AnUnfinishedCharacterEndsAsOneReplacement) {
  const auto tokenizer = TestTokenizer("sentencepiece");
  const auto byte = [](int value) { return 3 + value; };
  IncrementalDetokenizer detokenizer(*tokenizer, {});
  EXPECT_EQ(detokenizer.Push(byte(0xF0)), "");
  EXPECT_EQ(detokenizer.Push(byte(0x9F)), "");
  EXPECT_EQ(detokenizer.Push(byte(0x9A)), "");
  EXPECT_EQ(detokenizer.Finish(), "\uFFFD");
  EXPECT_EQ(detokenizer.Finish(), "");
}

TEST(IncrementalDetokenizerEdgeTest, GoodBytesBeforeABadOneAreKept) {
  const auto tokenizer = TestTokenizer("sentencepiece");
  const Ids ids = {3 + 0xC3, 3 + 0xA9, 3 + 0xFF, 3 + 'a'};
  EXPECT_EQ(Streamed(*tokenizer, ids), "é\uFFFDa");
}

}  // namespace
}  // namespace baton::text
