#include "common/request/sampling_params.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

namespace baton {
namespace {

using ::testing::HasSubstr;

std::string ErrorOf(const SamplingParams& params) { return MessageOf(params.Validate(100)); }

TEST(SamplingParamsTest, DefaultsAreValid) { EXPECT_TRUE(SamplingParams{}.Validate(100).ok()); }

TEST(SamplingParamsTest, AnErrorNamesTheFieldItsValueAndItsRange) {
  EXPECT_EQ(ErrorOf({.temperature = 2.5f}), "temperature must be between 0 and 2, got 2.5");
  EXPECT_EQ(ErrorOf({.top_p = 0}), "top_p must be above 0 and at most 1, got 0");
  EXPECT_THAT(ErrorOf({.logit_bias = {{100, 1.f}}}), HasSubstr("token 100"));
  EXPECT_THAT(ErrorOf({.max_tokens = -1}), HasSubstr("max_tokens must be at least 0, got -1"));
}

TEST(SamplingParamsTest, NotANumberIsOutOfEveryRange) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  EXPECT_FALSE(SamplingParams{.temperature = nan}.Validate(100).ok());
  EXPECT_FALSE(SamplingParams{.min_p = nan}.Validate(100).ok());
  EXPECT_FALSE(SamplingParams{.repetition_penalty = nan}.Validate(100).ok());
}

TEST(SamplingParamsTest, TooManyOrTooLongStopsAreRefusedWithTheLimit) {
  SamplingParams params;
  params.stop_strings.assign(17, "x");
  EXPECT_THAT(ErrorOf(params), HasSubstr("stop has 17 entries, at most 16"));
  params.stop_strings = {""};
  EXPECT_THAT(ErrorOf(params), HasSubstr("empty string"));
  params.stop_strings = {std::string(1025, 'x')};
  EXPECT_THAT(ErrorOf(params), HasSubstr("1025 bytes, at most 1024"));
}

}  // namespace
}  // namespace baton
