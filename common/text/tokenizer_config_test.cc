#include "common/text/tokenizer_config.h"

#include "common/base/status.h"
#include "common/text/test_support.h"
#include "gmock/gmock.h"

namespace baton::text {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

absl::StatusOr<TokenizerConfig> Loaded(std::string_view json) {
  TempModel model;
  model.Write("tokenizer_config.json", json);
  return TokenizerConfig::Load(model.dir());
}

TEST(TokenizerConfigTest, AFolderWithoutTheFileHasNoTokensAndNoTemplate) {
  TempModel model;
  const auto config = TokenizerConfig::Load(model.dir());
  ASSERT_TRUE(config.ok());
  EXPECT_EQ(config->bos_token, "");
  EXPECT_EQ(config->chat_template, std::nullopt);
}

TEST(TokenizerConfigTest, TokensAreStringsOrObjectsOrNull) {
  const auto config = Loaded(
      R"({"bos_token": "<s>", "eos_token": {"content": "</s>", "special": true}, "pad_token": null})");
  ASSERT_TRUE(config.ok());
  EXPECT_EQ(config->bos_token, "<s>");
  EXPECT_EQ(config->eos_token, "</s>");
  EXPECT_EQ(config->pad_token, "");
}

TEST(TokenizerConfigTest, OfSeveralTemplatesTheDefaultIsTaken) {
  const auto config = Loaded(R"({"chat_template": [{"name": "tool_use", "template": "T"},
                                                   {"name": "default", "template": "D"}]})");
  ASSERT_TRUE(config.ok());
  EXPECT_EQ(config->chat_template, "D");
}

TEST(TokenizerConfigTest, ATemplateFileWinsOverTheKey) {
  TempModel model;
  model.Write("tokenizer_config.json", R"({"chat_template": "key"})");
  model.Write("chat_template.jinja", "file");
  const auto config = TokenizerConfig::Load(model.dir());
  ASSERT_TRUE(config.ok());
  EXPECT_EQ(config->chat_template, "file");
  EXPECT_THAT(config->chat_template_source, HasSubstr("chat_template.jinja"));
}

TEST(TokenizerConfigTest, WhatIsWrongIsNamedWithItsFileAndKey) {
  for (const auto& [json, key] : std::vector<std::pair<const char*, const char*>>{
           {R"({"bos_token": 7})", "bos_token"},
           {R"({"eos_token": {"contents": "x"}})", "eos_token"},
           {R"({"chat_template": 7})", "chat_template"},
           {R"({"chat_template": [{"name": "other", "template": "x"}]})", "chat_template"},
           {R"({"chat_template": ["default"]})", "chat_template"},
           {"[]", "JSON object"},
           {"{", "JSON object"}}) {
    const auto config = Loaded(json);
    EXPECT_EQ(config.status().code(), absl::StatusCode::kFailedPrecondition) << json;
    EXPECT_THAT(MessageOf(config.status()),
                AllOf(HasSubstr("tokenizer_config.json"), HasSubstr(key)));
  }
}

}  // namespace
}  // namespace baton::text
