#include "services/planner/watch/load_meter.h"

#include <gtest/gtest.h>

namespace baton::planner {
namespace {

using Routers = std::map<std::string, RouterSample>;

WorkerSample Worker(const std::string& id, Pool pool) {
  return {.id = id,
          .pool = pool,
          .ready = true,
          .fit = {.base_ms = 8, .per_prefill_token_ms = 0.06, .per_decode_ms = 0.1, .samples = 10},
          .blocks = 1000,
          .block_tokens = 16,
          .batch_sequences_max = 64,
          .step_tokens_max = 2048};
}

class LoadMeterTest : public testing::Test {
 protected:
  // So many seconds later.
  Picture After(int seconds, const Routers& routers, bool partial = false) {
    now_ += absl::Seconds(seconds);
    return meter_.Look(routers, partial, now_);
  }
  void Arrive(RouterSample& router, double requests, double tokens_each) {
    router.accepted += requests;
    router.accepted_prompt_tokens += requests * tokens_each;
  }
  absl::Duration now_ = absl::Hours(1);
  LoadMeter meter_{{.recent = absl::Seconds(10), .steady = absl::Seconds(60)}};
};

TEST_F(LoadMeterTest, WhatARouterCountedBeforeIsNoTraffic) {
  Routers routers{{"a", {.accepted = 1e6, .accepted_prompt_tokens = 1e9}}};
  EXPECT_EQ(After(5, routers).recent.requests_per_second, 0);
  EXPECT_EQ(After(5, routers).recent.requests_per_second, 0);
}

TEST_F(LoadMeterTest, RatesOfAllRoutersAreAddedUp) {
  Routers routers{{"a", {}}, {"b", {.accepted = 50}}};
  After(5, routers);
  Arrive(routers["a"], 100, 1000);
  Arrive(routers["b"], 50, 400);
  const Picture picture = After(5, routers);
  EXPECT_DOUBLE_EQ(picture.recent.requests_per_second, 30);
  EXPECT_DOUBLE_EQ(picture.recent.prompt_tokens, 800);
}

TEST_F(LoadMeterTest, ABurstIsSeenAtOnceAndForgottenSlowly) {
  Routers routers{{"a", {}}};
  After(5, routers);
  for (int i = 0; i < 11; ++i) After(5, routers);
  Arrive(routers["a"], 600, 100);
  Picture picture = After(5, routers);
  EXPECT_DOUBLE_EQ(picture.recent.requests_per_second, 60);
  EXPECT_DOUBLE_EQ(picture.steady.requests_per_second, 10);
  for (int i = 0; i < 3; ++i) picture = After(5, routers);
  EXPECT_EQ(picture.recent.requests_per_second, 0);
  EXPECT_DOUBLE_EQ(picture.steady.requests_per_second, 10);
}

TEST_F(LoadMeterTest, ARouterThatBeganAgainCountsFromItsBeginning) {
  Routers routers{{"a", {.accepted = 1000}}};
  After(5, routers);
  routers["a"].accepted = 50;
  EXPECT_DOUBLE_EQ(After(5, routers).recent.requests_per_second, 10);
}

TEST_F(LoadMeterTest, ARouterThatWasSilentForALookLosesNothing) {
  Routers routers{{"a", {}}, {"b", {}}};
  After(5, routers);
  EXPECT_TRUE(After(5, {{"a", {}}}, /*partial=*/true).partial);
  routers["b"].accepted = 100;
  EXPECT_DOUBLE_EQ(After(0, routers).recent.requests_per_second * 5, 100);
}

TEST_F(LoadMeterTest, AWorkerIsCountedOnceWhoeverKnowsOfIt) {
  WorkerSample old_news = Worker("decode-0", Pool::kDecode);
  old_news.report_age_ms = 900;
  old_news.running = 1;
  WorkerSample news = old_news;
  news.report_age_ms = 10;
  news.running = 9;
  Routers routers{{"a", {.workers = {old_news, Worker("prefill-0", Pool::kPrefill)}}},
                  {"b", {.workers = {news}}}};
  const Picture picture = After(5, routers);
  EXPECT_EQ(picture.decode.workers, 1);
  EXPECT_EQ(picture.decode.running, 9);
  EXPECT_EQ(picture.prefill.workers, 1);
}

TEST_F(LoadMeterTest, WhoLeavesIsNotPresent) {
  WorkerSample leaving = Worker("decode-0", Pool::kDecode);
  leaving.ready = false;
  leaving.draining = true;
  WorkerSample lost = Worker("decode-1", Pool::kDecode);
  lost.ready = false;
  const Picture picture = After(5, {{"a", {.workers = {leaving, lost}}}});
  EXPECT_EQ(picture.decode.workers, 0);
  EXPECT_EQ(picture.decode.present, 1);
}

TEST_F(LoadMeterTest, WhatWorkersWereLikeIsKnownWhenTheyAreGone) {
  After(5, {{"a", {.workers = {Worker("decode-0", Pool::kDecode)}}}});
  const Picture picture = After(5, {{"a", {}}});
  EXPECT_EQ(picture.decode.workers, 0);
  EXPECT_EQ(picture.decode.fit.samples, 10);
  EXPECT_EQ(picture.decode.batch_sequences_max, 64);
  // Nobody has seen a prefill worker: it is taken to be like them.
  EXPECT_EQ(picture.prefill.fit.samples, 10);
}

TEST_F(LoadMeterTest, RefusalsForLackOfAWorkerAreHeardOf) {
  Routers routers{{"a", {}}};
  EXPECT_FALSE(After(5, routers).unserved);
  routers["a"].without_worker = 1;
  EXPECT_TRUE(After(5, routers).unserved);
  for (int i = 0; i < 3; ++i) After(5, routers);
  EXPECT_FALSE(After(5, routers).unserved);
}

TEST_F(LoadMeterTest, LengthsAndCachedTokensAreThoseOfRequestsThatEnded) {
  Routers routers{{"a", {}}};
  After(5, routers);
  RouterSample& router = routers["a"];
  router.completed = 10;
  router.prompt_tokens = 1000;
  router.cached_tokens = 250;
  router.completion_tokens = 2000;
  const Picture picture = After(5, routers);
  EXPECT_DOUBLE_EQ(picture.recent.output_tokens, 200);
  EXPECT_DOUBLE_EQ(picture.recent.cached_share, 0.25);
}

TEST_F(LoadMeterTest, StepsThatTakeLongerThanWorkersSayAreNoticed) {
  WorkerSample worker = Worker("decode-0", Pool::kDecode);
  worker.running = 20;  // a step of 10 ms, by its fit
  Routers routers{{"a", {.workers = {worker}}}};
  Picture picture = After(5, routers);
  EXPECT_EQ(picture.pace, 1);
  for (int i = 0; i < 200; ++i) {
    routers["a"].itl_tokens += 1000;
    routers["a"].itl_seconds += 20;  // 20 ms each
    picture = After(5, routers);
  }
  EXPECT_NEAR(picture.pace, 2, 0.01);
}

}  // namespace
}  // namespace baton::planner
