#include "bench/simulation/trace.h"

#include <gtest/gtest.h>

namespace baton::simulation {
namespace {

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
