#include "services/cli/bench/trace_file.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>

namespace baton::cli {
namespace {

absl::StatusOr<std::vector<TraceRequest>> Read(const std::string& text) {
  const std::string path = ::testing::TempDir() + "trace_file_test.jsonl";
  std::ofstream(path) << text;
  return ReadTrace(path);
}

TEST(TraceFileTest, ALineIsARequestWhoseChunksAreItsPrompt) {
  const auto trace = Read(
      "{\"timestamp\": 3000, \"input_length\": 700, \"output_length\": 52, "
      "\"hash_ids\": [46, 48]}\n"
      "{\"timestamp\": 0, \"input_length\": 600, \"output_length\": 1, "
      "\"hash_ids\": [46, 47]}\n");
  ASSERT_TRUE(trace.ok()) << trace.status();
  ASSERT_EQ(trace->size(), 2u);
  EXPECT_EQ((*trace)[0].at, absl::ZeroDuration()) << "in order of time";
  EXPECT_EQ((*trace)[1].output_tokens, 52);
  const std::vector<int32_t> first = PromptOf((*trace)[0], {});
  const std::vector<int32_t> second = PromptOf((*trace)[1], {});
  ASSERT_EQ(first.size(), 600u);
  ASSERT_EQ(second.size(), 700u);
  EXPECT_TRUE(std::equal(first.begin(), first.begin() + 512, second.begin()));
  EXPECT_FALSE(std::equal(first.begin() + 512, first.end(), second.begin() + 512));
}

TEST(TraceFileTest, WhatNoHashNamesIsARequestsOwn) {
  const auto trace = Read(
      "{\"timestamp\": 0, \"input_length\": 600, \"output_length\": 1}\n"
      "{\"timestamp\": 1, \"input_length\": 600, \"output_length\": 1, \"hash_ids\": [0]}\n"
      "{\"timestamp\": 2, \"input_length\": 600, \"output_length\": 1, \"hash_ids\": [0]}\n");
  ASSERT_TRUE(trace.ok()) << trace.status();
  const auto a = PromptOf((*trace)[0], {}), b = PromptOf((*trace)[1], {});
  const auto c = PromptOf((*trace)[2], {});
  EXPECT_FALSE(std::equal(a.begin(), a.begin() + 64, b.begin()));
  EXPECT_TRUE(std::equal(b.begin(), b.begin() + 512, c.begin()));
  EXPECT_FALSE(std::equal(b.begin() + 512, b.end(), c.begin() + 512));
}

TEST(TraceFileTest, TokensAreOfTheRange) {
  const auto trace = Read("{\"timestamp\": 0, \"input_length\": 2000, \"output_length\": 1}\n");
  ASSERT_TRUE(trace.ok()) << trace.status();
  const auto prompt = PromptOf(trace->front(), {.first = 1000, .count = 77});
  const auto [least, most] = std::minmax_element(prompt.begin(), prompt.end());
  EXPECT_EQ(*least, 1000);
  EXPECT_EQ(*most, 1076);
}

TEST(TraceFileTest, ALineThatIsWrongIsNamed) {
  const std::string good = "{\"timestamp\": 0, \"input_length\": 9, \"output_length\": 1}\n";
  for (const char* bad :
       {"{\"timestamp\": 3000}", "[1]", "{", "7",
        "{\"timestamp\": \"x\", \"input_length\": 9, \"output_length\": 1}",
        "{\"timestamp\": -1, \"input_length\": 9, \"output_length\": 1}",
        "{\"timestamp\": 0, \"input_length\": -9, \"output_length\": 1}",
        "{\"timestamp\": 0, \"input_length\": 9e9, \"output_length\": 1}",
        "{\"timestamp\": 0, \"input_length\": 99999999999, \"output_length\": 1}",
        "{\"timestamp\": 0, \"input_length\": 9, \"output_length\": 1, \"hash_ids\": [-1]}",
        "{\"timestamp\": 0, \"input_length\": 9, \"output_length\": 1, \"hash_ids\": 4}"}) {
    const auto trace = Read(good + bad + "\n");
    ASSERT_FALSE(trace.ok()) << bad;
    EXPECT_NE(trace.status().ToString().find(".jsonl:2"), std::string::npos) << trace.status();
  }
  EXPECT_FALSE(Read("").ok());
}

}  // namespace
}  // namespace baton::cli
