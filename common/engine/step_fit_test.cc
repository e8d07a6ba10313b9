#include "common/engine/step_fit.h"

#include <gtest/gtest.h>

#include <random>

namespace baton::engine {
namespace {

struct Truth {
  double base = 4, per_token = 0.5, per_decode = 0.8, per_context = 0.002;
  double operator()(int prefill, int decodes, int64_t context) const {
    return base + per_token * prefill + per_decode * decodes + per_context * double(context);
  }
};

void AddRandomSteps(StepFitter& fitter, const Truth& truth, int steps, double noise,
                    std::mt19937_64& random) {
  std::normal_distribution<double> error(0, noise);
  for (int i = 0; i < steps; ++i) {
    const int prefill = int(random() % 512);
    const int decodes = int(random() % 64);
    const int64_t context = decodes * int64_t(random() % 1000) + prefill;
    const double ms = std::max(0.01, truth(prefill, decodes, context) + error(random));
    fitter.Add(prefill, decodes, context, absl::Milliseconds(ms));
  }
}

TEST(StepFitTest, FindsTheCoefficientsThroughNoise) {
  std::mt19937_64 random(1);
  StepFitter fitter;
  const Truth truth;
  AddRandomSteps(fitter, truth, 3000, 2.0, random);
  const StepFit fit = fitter.Fit();
  EXPECT_NEAR(fit.base_ms, truth.base, 1);
  EXPECT_NEAR(fit.per_prefill_token_ms, truth.per_token, 0.01);
  EXPECT_NEAR(fit.per_decode_ms, truth.per_decode, 0.05);
  EXPECT_NEAR(fit.per_context_token_ms, truth.per_context, 0.0002);
  EXPECT_NEAR(fit.residual_ms, 2.0, 0.4);
  EXPECT_EQ(fit.samples, 3000);
}

TEST(StepFitTest, FollowsAMachineThatChanges) {
  std::mt19937_64 random(2);
  StepFitter fitter;
  AddRandomSteps(fitter, {}, 3000, 0.5, random);
  Truth slower;
  slower.per_token = 1.0;
  AddRandomSteps(fitter, slower, 3000, 0.5, random);
  EXPECT_NEAR(fitter.Fit().per_prefill_token_ms, 1.0, 0.05);
}

// A decode worker sees the same kind of step all day. What it says of such steps must be right,
// whatever it says of others, and no coefficient may be negative or not a number.
TEST(StepFitTest, StaysSaneWhenAllStepsAreAlike) {
  StepFitter fitter;
  for (int i = 0; i < 500; ++i) fitter.Add(0, 8, 8000, absl::Milliseconds(20));
  const StepFit fit = fitter.Fit();
  EXPECT_NEAR(fit.base_ms + 8 * fit.per_decode_ms + 8000 * fit.per_context_token_ms, 20, 0.1);
  EXPECT_EQ(fit.per_prefill_token_ms, 0);
  EXPECT_GE(fit.base_ms, 0);
  EXPECT_GE(fit.per_decode_ms, 0);
  EXPECT_GE(fit.per_context_token_ms, 0);
}

TEST(StepFitTest, NeverNegativeWhateverItSees) {
  for (uint64_t seed = 0; seed < 300; ++seed) {
    std::mt19937_64 random(seed);
    StepFitter fitter;
    const int steps = 1 + int(random() % 60);
    for (int i = 0; i < steps; ++i) {
      const int prefill = random() % 3 == 0 ? int(random() % 512) : 0;
      const int decodes = int(random() % 4);
      fitter.Add(prefill, decodes, decodes * 100 + prefill,
                 absl::Microseconds(int64_t(random() % 100'000)));
    }
    const StepFit fit = fitter.Fit();
    for (const double value : {fit.base_ms, fit.per_prefill_token_ms, fit.per_decode_ms,
                               fit.per_context_token_ms, fit.residual_ms}) {
      EXPECT_TRUE(std::isfinite(value)) << seed;
      EXPECT_GE(value, 0) << seed;
    }
  }
}

TEST(StepFitTest, KnowsNothingBeforeTheFirstStep) {
  const StepFit fit = StepFitter().Fit();
  EXPECT_EQ(fit.samples, 0);
  EXPECT_EQ(fit.base_ms, 0);
}

}  // namespace
}  // namespace baton::engine
