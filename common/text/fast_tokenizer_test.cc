// The faster of the two libraries that read tokenizer.json: where it is used, and that nobody can
// tell.
#include <random>

#include "common/text/fuzz_tokenizers.h"
#include "common/text/test_support.h"

namespace baton::text {
namespace {

std::unique_ptr<Tokenizer> Demo() {
  const char* root = std::getenv("BATON_SOURCE_DIR");
  auto tokenizer =
      Tokenizer::Load(std::string(root != nullptr ? root : ".") + "/models/baton-demo");
  CHECK_OK(tokenizer.status());
  return *std::move(tokenizer);
}

void AppendUtf8(char32_t code, std::string& text) {
  if (code < 0x80) {
    text += static_cast<char>(code);
  } else if (code < 0x800) {
    text += {static_cast<char>(0xC0 | code >> 6), static_cast<char>(0x80 | (code & 0x3F))};
  } else if (code < 0x10000) {
    text += {static_cast<char>(0xE0 | code >> 12), static_cast<char>(0x80 | (code >> 6 & 0x3F)),
             static_cast<char>(0x80 | (code & 0x3F))};
  } else {
    text += {static_cast<char>(0xF0 | code >> 18), static_cast<char>(0x80 | (code >> 12 & 0x3F)),
             static_cast<char>(0x80 | (code >> 6 & 0x3F)), static_cast<char>(0x80 | (code & 0x3F))};
  }
}

// One of a range that patterns or normalization care about, or any at all.
char32_t RandomCharacter(std::mt19937& random) {
  static constexpr std::pair<char32_t, char32_t> kRanges[] = {
      {'a', 'z'},         {'a', 'z'},         {'A', 'Z'},         {'0', '9'},
      {'!', '/'},         {' ', ' '},         {'\t', '\r'},       {0x85, 0xA0},
      {0xA1, 0x24F},      {0x300, 0x36F},     {0x370, 0x5FF},     {0x600, 0x6FF},
      {0xE00, 0xEFF},     {0x2000, 0x206F},   {0x2150, 0x218F},   {0x3000, 0x30FF},
      {0x4E00, 0x9FFF},   {0xAC00, 0xD7A3},   {0xFE00, 0xFEFF},   {0x1F300, 0x1FAFF},
      {0x1D400, 0x1D7FF}, {0xE0000, 0xE01EF}, {0x10000, 0x10FFFF}};
  const auto [first, last] = kRanges[random() % std::size(kRanges)];
  return first + random() % (last - first + 1);
}

std::string RandomText(const Tokenizer& tokenizer, std::mt19937& random) {
  static constexpr const char* kWords[] = {"'s", "'LL", "the", "  ", "\n\n", "\r\n", "<|", "2026"};
  std::string text;
  const auto& special = tokenizer.special_ids();
  for (size_t pieces = 1 + random() % 60; pieces > 0; --pieces) {
    const auto kind = random() % 8;
    if (kind == 0) {
      text += kWords[random() % std::size(kWords)];
    } else if (kind == 1 && !special.empty()) {
      text += tokenizer.TokenText(special[random() % special.size()]);
    } else {
      AppendUtf8(RandomCharacter(random), text);
    }
  }
  return text;
}

void ExpectTheReferencesIds(const Tokenizer& tokenizer, int texts) {
  std::mt19937 random(11);
  for (int i = 0; i < texts; ++i) {
    const std::string text = RandomText(tokenizer, random);
    for (const bool add : {false, true}) {
      const auto reference = tokenizer.Encode(text, {.add_special_tokens = add, .reference = true});
      const auto ids = tokenizer.Encode(text, {.add_special_tokens = add});
      ASSERT_TRUE(reference.ok() && ids.ok()) << text;
      ASSERT_EQ(*ids, *reference) << text;
    }
  }
}

TEST(FastTokenizerTest, ItHasTheReferencesIdsForLlamas) {
  ExpectTheReferencesIds(*TestTokenizer("byte_level"), 4000);
}

TEST(FastTokenizerTest, ItHasTheReferencesIdsForTheDemos) { ExpectTheReferencesIds(*Demo(), 4000); }

TEST(FastTokenizerTest, FormsThatLanguageModelsUseAreFast) {
  EXPECT_TRUE(TestTokenizer("byte_level")->is_fast());
  EXPECT_TRUE(FuzzTokenizer(LlamaLikeJson())->is_fast());
  EXPECT_TRUE(FuzzTokenizer(ByteLevelJson())->is_fast());
  EXPECT_TRUE(Demo()->is_fast());
}

TEST(FastTokenizerTest, OtherFormsAreLeftToTheReference) {
  EXPECT_FALSE(TestTokenizer("sentencepiece")->is_fast());
  EXPECT_FALSE(TestTokenizer("metaspace")->is_fast());
  nlohmann::json strips = LlamaLikeJson();
  strips["added_tokens"][0]["lstrip"] = true;
  EXPECT_FALSE(FuzzTokenizer(strips)->is_fast());
  nlohmann::json unknown_pattern = LlamaLikeJson();
  unknown_pattern["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = "[a-z]+";
  EXPECT_FALSE(FuzzTokenizer(unknown_pattern)->is_fast());
}

TEST(FastTokenizerTest, ALongTextWithoutAPlaceToCutHasTheReferencesIds) {
  const auto tokenizer = TestTokenizer("byte_level");
  for (const char* bit : {"a", " ", "\xE4\xBD\xA0", "word ", "1", "\n"}) {
    std::string text;
    while (text.size() < 100'000) text += bit;
    EXPECT_EQ(*tokenizer->Encode(text, {.add_special_tokens = false}),
              *tokenizer->Encode(text, {.add_special_tokens = false, .reference = true}))
        << bit;
  }
}

}  // namespace
}  // namespace baton::text
