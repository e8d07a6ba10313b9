#include "services/router/dispatch/choice_text.h"

#include <gtest/gtest.h>

#include <random>

#include "common/text/test_support.h"

namespace baton::router {
namespace {

class ChoiceTextTest : public testing::Test {
 protected:
  struct All {
    std::string text;
    std::vector<int32_t> tokens;
    bool stopped = false;
    std::string stop;
  };
  void Add(ChoiceText::Output output, All& all) {
    all.text += output.text;
    for (const GeneratedToken& token : output.tokens) all.tokens.push_back(token.token);
    all.stopped = all.stopped || output.stopped;
    if (output.stopped) all.stop = output.stop;
  }
  std::vector<int32_t> Encode(const std::string& text) {
    return *tokenizer_->Encode(text, /*add_special_tokens=*/false);
  }
  All Run(const std::vector<int32_t>& tokens, const SamplingParams& sampling,
          std::vector<GeneratedToken> hidden = {}) {
    ChoiceText choice(*tokenizer_, sampling, {});
    All all;
    for (const int32_t token : tokens) {
      Add(choice.Push({.token = token}), all);
      if (all.stopped) return all;
    }
    Add(choice.Finish(std::move(hidden)), all);
    EXPECT_EQ(choice.num_tokens(), static_cast<int32_t>(tokens.size() + (hidden.empty() ? 0 : 1)));
    return all;
  }

  std::unique_ptr<text::Tokenizer> tokenizer_ = text::TestTokenizer("byte_level");
};

TEST_F(ChoiceTextTest, TokensComeOutWithTheTextTheyStandFor) {
  ChoiceText choice(*tokenizer_, {.stop_strings = {"zz"}}, {});
  const int32_t z = Encode("z")[0];
  const ChoiceText::Output held = choice.Push({.token = z});
  EXPECT_TRUE(held.text.empty());
  EXPECT_TRUE(held.tokens.empty());  // may yet be the beginning of the stop string
  const ChoiceText::Output out = choice.Push({.token = Encode("a")[0]});
  EXPECT_EQ(out.text, "za");
  EXPECT_EQ(out.tokens.size(), 2u);
}

TEST_F(ChoiceTextTest, TheTokensOfAStopStringStayHiddenWithIt) {
  const All all = Run(Encode("a STOP b"), {.stop_strings = {"STOP"}});
  EXPECT_TRUE(all.stopped);
  EXPECT_EQ(all.stop, "STOP");
  EXPECT_EQ(all.text, "a ");
  EXPECT_LE(tokenizer_->Decode(all.tokens, true).size(), all.text.size());
}

TEST_F(ChoiceTextTest, TheStopStringIsShownWhenAskedFor) {
  const All all =
      Run(Encode("a STOP b"), {.stop_strings = {"STOP"}, .include_stop_in_output = true});
  EXPECT_EQ(all.text, "a STOP");
}

TEST_F(ChoiceTextTest, WhatIsHeldBackComesWithTheEnd) {
  const std::vector<int32_t> tokens = Encode("a STO");
  const All all = Run(tokens, {.stop_strings = {"STOP"}});
  EXPECT_FALSE(all.stopped);
  EXPECT_EQ(all.text, "a STO");
  EXPECT_EQ(all.tokens, tokens);
}

TEST_F(ChoiceTextTest, WithoutAStopEveryTokenAndEveryByteComesOutOnce) {
  std::mt19937 random(5);
  for (int round = 0; round < 200; ++round) {
    std::vector<int32_t> tokens;
    for (int i = 0; i < 30; ++i) {
      tokens.push_back(static_cast<int32_t>(random() % tokenizer_->vocab_size()));
    }
    const All all = Run(tokens, {.stop_strings = {"\x01never\x01"}});
    ASSERT_EQ(all.text, tokenizer_->Decode(tokens, true));
    ASSERT_EQ(all.tokens, tokens);
  }
}

}  // namespace
}  // namespace baton::router
