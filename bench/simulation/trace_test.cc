#include "bench/simulation/trace.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>

namespace baton::simulation {
namespace {

std::string Write(const std::string& text) {
  const std::string path = ::testing::TempDir() + "trace_test.jsonl";
  std::ofstream(path) << text;
  return path;
}

TEST(TraceTest, AMooncakeLineIsARequestWhoseChunksAreItsPrompt) {
  const auto trace =
      ReadMooncake(Write("{\"timestamp\": 3000, \"input_length\": 700, \"output_length\": 52, "
                         "\"hash_ids\": [46, 48]}\n"
                         "{\"timestamp\": 0, \"input_length\": 600, \"output_length\": 1, "
                         "\"hash_ids\": [46, 47]}\n"));
  ASSERT_TRUE(trace.ok()) << trace.status();
  ASSERT_EQ(trace->size(), 2u);
  EXPECT_EQ((*trace)[0].at, absl::ZeroDuration()) << "in order of time";
  EXPECT_EQ((*trace)[1].output_tokens, 52);
  const std::vector<int32_t> first = PromptOf((*trace)[0]);
  const std::vector<int32_t> second = PromptOf((*trace)[1]);
  ASSERT_EQ(first.size(), 600u);
  ASSERT_EQ(second.size(), 700u);
  EXPECT_TRUE(std::equal(first.begin(), first.begin() + 512, second.begin()));
  EXPECT_FALSE(std::equal(first.begin() + 512, first.end(), second.begin() + 512));
}

TEST(TraceTest, ALineThatLacksAFieldIsNamed) {
  const auto trace = ReadMooncake(Write("{\"timestamp\": 3000}\n"));
  ASSERT_FALSE(trace.ok());
  EXPECT_NE(trace.status().ToString().find(":1:"), std::string::npos) << trace.status();
}

TEST(TraceTest, ATraceIsInOrderAndTheSameFromTheSameSeed) {
  for (const char* shape : {"chat", "agent", "rag", "batch"}) {
    const auto once = MakeTrace(shape, 50, absl::Seconds(10), 7);
    const auto twice = MakeTrace(shape, 50, absl::Seconds(10), 7);
    ASSERT_EQ(once.size(), twice.size());
    ASSERT_GT(once.size(), 300u);
    for (size_t i = 0; i < once.size(); ++i) {
      EXPECT_EQ(once[i].chunks, twice[i].chunks);
      EXPECT_GT(once[i].prompt_tokens, 0) << shape;
      if (i > 0) {
        EXPECT_GE(once[i].at, once[i - 1].at);
      }
    }
  }
}

}  // namespace
}  // namespace baton::simulation
