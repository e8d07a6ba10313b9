#include "services/router/membership/pace_watch.h"

#include <gtest/gtest.h>

namespace baton::router {
namespace {

constexpr engine::StepFit kUsual = {
    .base_ms = 4, .per_prefill_token_ms = 0.1, .per_decode_ms = 0.5, .samples = 1000};

// A decode worker with a batch of 8, and what it reports.
class PaceWatchTest : public testing::Test {
 protected:
  // `steps` more of them, each `times` as long as usual. True: there was news.
  PaceWatch::News Work(int steps, double times, std::vector<engine::StepFit> equals = {kUsual}) {
    load_.decode_work.steps += steps;
    load_.decode_work.tokens += 8 * steps;
    load_.decode_work.ms += steps * times * 8;
    return watch_.OnReport(load_, [&] { return equals; });
  }

  engine::LoadReport load_{.fit = kUsual};
  PaceWatch watch_{WorkerRole::kDecode};
};

TEST_F(PaceWatchTest, TenTimesAsLongAsBeforeAndAsItsEqualsIsSlow) {
  EXPECT_EQ(Work(100, 1), PaceWatch::News::kNone);
  EXPECT_EQ(Work(10, 10), PaceWatch::News::kNone);
  EXPECT_EQ(Work(10, 10), PaceWatch::News::kNone);
  EXPECT_EQ(Work(10, 10), PaceWatch::News::kSlow) << "the third window in a row";
  EXPECT_TRUE(watch_.slow());
  EXPECT_NEAR(watch_.factor(), 10, 0.01);
  EXPECT_EQ(Work(10, 10), PaceWatch::News::kNone) << "no news any more";
}

TEST_F(PaceWatchTest, AMomentIsForgiven) {
  Work(100, 1);
  for (int i = 0; i < 10; ++i) {
    Work(10, 10);
    Work(10, 10);
    Work(100, 1);
  }
  EXPECT_FALSE(watch_.slow());
}

TEST_F(PaceWatchTest, OneRequestProvesThatItIsWellAgain) {
  Work(100, 1);
  for (int i = 0; i < 3; ++i) Work(10, 10);
  ASSERT_TRUE(watch_.slow());
  EXPECT_EQ(Work(31, 1), PaceWatch::News::kNone);
  EXPECT_EQ(Work(1, 1), PaceWatch::News::kWellAgain);
  EXPECT_FALSE(watch_.slow());
}

// An older machine among newer ones: the estimates say so, and that is enough.
TEST_F(PaceWatchTest, OneThatHasAlwaysBeenSlowerIsNotSlow) {
  load_.fit.base_ms *= 10;
  load_.fit.per_decode_ms *= 10;
  for (int i = 0; i < 10; ++i) Work(10, 10);
  EXPECT_FALSE(watch_.slow());
}

// All are: there is nobody who would do better.
TEST_F(PaceWatchTest, OneThatIsAsSlowAsItsEqualsIsNotSlow) {
  Work(100, 1);
  engine::StepFit slow = kUsual;
  slow.base_ms *= 10;
  slow.per_decode_ms *= 10;
  for (int i = 0; i < 10; ++i) Work(10, 10, {slow, slow, kUsual});
  EXPECT_FALSE(watch_.slow());
}

TEST_F(PaceWatchTest, WithoutAMeasuredEqualNobodyIsSlow) {
  Work(100, 1);
  for (int i = 0; i < 10; ++i) Work(10, 10, {});
  for (int i = 0; i < 10; ++i) Work(10, 10, {{.base_ms = 1, .samples = 3}});
  EXPECT_FALSE(watch_.slow());
}

TEST_F(PaceWatchTest, PromptsOnADecodeWorkerAreNotLookedAt) {
  Work(100, 1);
  load_.prefill_work = {.steps = 100, .tokens = 100, .ms = 1e6};
  for (int i = 0; i < 10; ++i) Work(100, 1);
  EXPECT_FALSE(watch_.slow());
}

}  // namespace
}  // namespace baton::router
