#include "services/router/dispatch/continuation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace baton::router {
namespace {

using ::testing::ElementsAre;

TEST(ContinuationTest, AnAttemptsNameLeadsBackToItsRequest) {
  const RequestId request("mine~7-0123456789abcd");
  EXPECT_EQ(AttemptId(request, 1), request);
  EXPECT_EQ(AttemptId(request, 12).value(), "mine~7-0123456789abcd~12");
  for (int attempt : {1, 2, 12, 100}) {
    EXPECT_EQ(RequestOf(AttemptId(request, attempt).value()), request.value());
  }
}

TEST(ContinuationTest, TheOutputBecomesPromptAndLimitsCountTheRest) {
  AcceptedRequest request;
  request.id = RequestId("r");
  request.prompt = {1, 2};
  request.sampling.max_tokens = 10;
  request.sampling.min_tokens = 2;
  request.sampling.seed = 40;
  request.sampling.stop_strings = {"."};
  const std::vector<int32_t> output = {7, 8, 9};
  request.deadline = absl::Seconds(30);
  const SequenceSpec spec = ContinuationOf(request, 3, output, absl::Seconds(10));
  EXPECT_THAT(spec.prompt, ElementsAre(1, 2, 7, 8, 9));
  EXPECT_EQ(spec.resumed_tokens, 3);
  EXPECT_EQ(spec.sampling.max_tokens, 7);
  EXPECT_EQ(spec.sampling.min_tokens, 0);
  EXPECT_EQ(spec.sampling.seed, 43u);
  EXPECT_EQ(spec.time_left, absl::Seconds(20));
  EXPECT_TRUE(spec.sampling.stop_strings.empty());
  EXPECT_EQ(ContinuationOf(request, 0, {}, absl::Seconds(10)).prompt, request.prompt);
}

}  // namespace
}  // namespace baton::router
