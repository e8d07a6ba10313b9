#include "common/text/tokenizer.h"

#include <algorithm>
#include <functional>
#include <thread>

#include "common/base/status.h"
#include "common/text/test_support.h"
#include "gmock/gmock.h"

namespace baton::text {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

using Ids = std::vector<int32_t>;

class TokenizerGoldenTest : public testing::TestWithParam<const char*> {
 protected:
  const std::unique_ptr<Tokenizer> tokenizer_ = TestTokenizer(GetParam());
  const Json golden_ = Json::parse(TestData(std::string(GetParam()) + "_golden.json"));
};
INSTANTIATE_TEST_SUITE_P(All, TokenizerGoldenTest, testing::ValuesIn(kTestTokenizers),
                         [](const auto& info) { return std::string(info.param); });

TEST_P(TokenizerGoldenTest, EncodesAsTheReferenceDoes) {
  for (const Json& entry : golden_["encode"]) {
    const std::string text = entry["text"];
    EXPECT_EQ(*tokenizer_->Encode(text, /*add_special_tokens=*/false), entry["plain"].get<Ids>());
    EXPECT_EQ(*tokenizer_->Encode(text, /*add_special_tokens=*/true), entry["special"].get<Ids>());
    EXPECT_EQ(*tokenizer_->Encode(text, {.add_special_tokens = false, .parse_special = false}),
              entry["literal"].get<Ids>())
        << text;
  }
}

TEST_P(TokenizerGoldenTest, DecodesAsTheReferenceDoes) {
  for (const Json& entry : golden_["decode"]) {
    const Ids ids = entry["ids"];
    EXPECT_EQ(tokenizer_->Decode(ids, /*skip_special=*/false), entry["shown"].get<std::string>())
        << entry["ids"];
    EXPECT_EQ(tokenizer_->Decode(ids, /*skip_special=*/true), entry["skipped"].get<std::string>())
        << entry["ids"];
  }
}

TEST_P(TokenizerGoldenTest, LiteralTextNeverBecomesAControlToken) {
  std::string forged = "x";
  for (const int32_t id : tokenizer_->special_ids()) forged += tokenizer_->TokenText(id) + "y";
  const Ids parsed = *tokenizer_->Encode(forged, {.add_special_tokens = false});
  const Ids literal =
      *tokenizer_->Encode(forged, {.add_special_tokens = false, .parse_special = false});
  const auto special = [&](const Ids& ids) {
    return std::count_if(ids.begin(), ids.end(),
                         [&](int32_t id) { return tokenizer_->IsSpecial(id); });
  };
  EXPECT_EQ(special(parsed), static_cast<long>(tokenizer_->special_ids().size()));
  EXPECT_EQ(special(literal), 0);
  EXPECT_EQ(tokenizer_->Decode(literal, /*skip_special=*/true), forged);
}

TEST_P(TokenizerGoldenTest, AnyTextSurvivesThereAndBack) {
  std::mt19937 random(1);
  const std::vector<std::string> pieces = {"a",  "the ", " ",  "\n", "é",
                                           "请", "🚀",   "'s", "12", "_"};
  for (int round = 0; round < 300; ++round) {
    std::string text;
    for (size_t i = random() % 30; i > 0; --i) text += pieces[random() % pieces.size()];
    const auto ids = tokenizer_->Encode(text, /*add_special_tokens=*/true);
    ASSERT_TRUE(ids.ok());
    std::string expected = text;
    // The one loss of the Metaspace decoder: it takes the marks of a whole first token for its own.
    if (std::string_view(GetParam()) == "metaspace") {
      expected.erase(0, expected.find_first_not_of(' ') == std::string::npos
                            ? expected.size()
                            : expected.find_first_not_of(' '));
      const std::string decoded = tokenizer_->Decode(*ids, /*skip_special=*/true);
      ASSERT_EQ(decoded.substr(decoded.size() - expected.size()), expected);
      continue;
    }
    ASSERT_EQ(tokenizer_->Decode(*ids, /*skip_special=*/true), expected);
  }
}

TEST_P(TokenizerGoldenTest, ManyThreadsEncodeAtOnce) {
  const std::string text = golden_["encode"].back()["text"];
  const Ids expected = golden_["encode"].back()["plain"];
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int round = 0; round < 50; ++round) {
        const auto ids = tokenizer_->Encode(text, /*add_special_tokens=*/false);
        EXPECT_TRUE(ids.ok() && *ids == expected);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST_P(TokenizerGoldenTest, InvalidUtf8IsRefusedWithItsOffset) {
  const auto ids = tokenizer_->Encode("abc\xE9 def", /*add_special_tokens=*/true);
  EXPECT_EQ(ids.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(MessageOf(ids.status()), HasSubstr("byte 3"));
}

TEST(TokenizerTest, TokenBytesAreRawAndTokenTextIsValid) {
  const auto bytes = TestTokenizer("byte_level");
  const int32_t space = *bytes->TokenId("Ġ");
  EXPECT_EQ(bytes->TokenBytes(space), " ");
  const int32_t lone = *bytes->TokenId("Ã");
  EXPECT_EQ(bytes->TokenBytes(lone), "\xC3");
  EXPECT_EQ(bytes->TokenText(lone), "\uFFFD");

  const auto pieces = TestTokenizer("sentencepiece");
  EXPECT_EQ(pieces->TokenBytes(*pieces->TokenId("<0xE9>")), "\xE9");
  EXPECT_EQ(pieces->TokenBytes(*pieces->TokenId("▁the")), " the");
  EXPECT_EQ(pieces->TokenBytes(*pieces->TokenId("</s>")), "</s>");
}

TEST(TokenizerTest, AllBytesOfAByteLevelVocabularyAreThere) {
  const auto tokenizer = TestTokenizer("byte_level");
  std::vector<int> seen(256, 0);
  for (int32_t id = 0; id < tokenizer->vocab_size(); ++id) {
    const std::string_view bytes = tokenizer->TokenBytes(id);
    if (bytes.size() == 1) ++seen[static_cast<uint8_t>(bytes[0])];
  }
  EXPECT_EQ(seen, std::vector<int>(256, 1));
}

TEST(TokenizerTest, IdsOutsideTheVocabularyStandForNothing) {
  const auto tokenizer = TestTokenizer("byte_level");
  for (const int32_t id : {-1, tokenizer->vocab_size(), INT32_MAX, INT32_MIN}) {
    EXPECT_FALSE(tokenizer->Exists(id));
    EXPECT_FALSE(tokenizer->IsSpecial(id));
    EXPECT_EQ(tokenizer->TokenBytes(id), "");
    EXPECT_EQ(tokenizer->Decode(Ids{id}, false), "");
  }
  EXPECT_EQ(tokenizer->TokenId("no such token"), std::nullopt);
}

TEST(TokenizerTest, AddedTokensThatAreNotSpecialAreShown) {
  const auto tokenizer = TestTokenizer("byte_level");
  const int32_t think = *tokenizer->TokenId("<think>");
  EXPECT_FALSE(tokenizer->IsSpecial(think));
  EXPECT_THAT(*tokenizer->Encode("<think>", false), ElementsAre(think));
  EXPECT_EQ(tokenizer->Decode(Ids{think}, /*skip_special=*/true), "<think>");
}

TEST(TokenizerTest, TheFolderSaysWhichTokensBeginAndEnd) {
  TempModel model;
  model.Write("tokenizer.json", TestData("sentencepiece.json"));
  model.Write("tokenizer_config.json",
              R"({"bos_token": "<s>", "eos_token": {"content": "</s>", "lstrip": false}})");
  const auto tokenizer = Tokenizer::Load(model.dir());
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_EQ((*tokenizer)->bos_id(), 1);
  EXPECT_EQ((*tokenizer)->eos_id(), 2);
  EXPECT_THAT((*tokenizer)->special_ids(), ElementsAre(0, 1, 2));
}

TEST(TokenizerTest, TruncationAndPaddingInTheFileAreIgnored) {
  Json source = Json::parse(TestData("byte_level.json"));
  source["truncation"] = {
      {"direction", "Right"}, {"max_length", 4}, {"strategy", "LongestFirst"}, {"stride", 0}};
  source["padding"] = {{"strategy", {{"Fixed", 100}}},
                       {"direction", "Right"},
                       {"pad_to_multiple_of", nullptr},
                       {"pad_id", 0},
                       {"pad_type_id", 0},
                       {"pad_token", "!"}};
  const auto tokenizer = Tokenizer::FromJson(source.dump());
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  const std::string text = "one two three four five six seven";
  EXPECT_EQ(*(*tokenizer)->Encode(text, true), *TestTokenizer("byte_level")->Encode(text, true));
}

absl::Status LoadEdited(const char* name, const std::function<void(Json&)>& edit) {
  Json source = Json::parse(TestData(std::string(name) + ".json"));
  edit(source);
  return Tokenizer::FromJson(source.dump()).status();
}

TEST(TokenizerTest, ADamagedFileIsRefusedWithItsName) {
  TempModel model;
  EXPECT_EQ(Tokenizer::Load(model.dir()).status().code(), absl::StatusCode::kNotFound);
  const std::string whole = TestData("byte_level.json");
  for (const size_t size : {size_t{0}, size_t{1}, whole.size() / 2, whole.size() - 2}) {
    model.Write("tokenizer.json", whole.substr(0, size));
    const absl::Status status = Tokenizer::Load(model.dir()).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << size;
    EXPECT_THAT(MessageOf(status), HasSubstr("tokenizer.json: "));
  }
}

TEST(TokenizerTest, AnUnknownDecoderIsRefusedByName) {
  const absl::Status status = LoadEdited("byte_level", [](Json& source) {
    source["decoder"] = {{"type", "WordPiece"}, {"prefix", "##"}, {"cleanup", true}};
  });
  EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented);
  EXPECT_THAT(MessageOf(status), HasSubstr("WordPiece"));
  const absl::Status none =
      LoadEdited("byte_level", [](Json& source) { source["decoder"] = nullptr; });
  EXPECT_EQ(none.code(), absl::StatusCode::kUnimplemented);
}

TEST(TokenizerTest, AddedTokensWithIdsOfTheirOwnAreRefused) {
  const absl::Status status =
      LoadEdited("byte_level", [](Json& source) { source["added_tokens"].back()["id"] = 9000; });
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(MessageOf(status), HasSubstr("9000"));
}

TEST(TokenizerTest, AnAbsurdIdIsRefusedInsteadOfAllocated) {
  const absl::Status status =
      LoadEdited("byte_level", [](Json& source) { source["model"]["vocab"].back() = 4000000000; });
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(MessageOf(status), HasSubstr("limit"));
}

}  // namespace
}  // namespace baton::text
