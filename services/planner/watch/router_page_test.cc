#include "services/planner/watch/router_page.h"

#include <gtest/gtest.h>

namespace baton::planner {
namespace {

constexpr char kCluster[] = R"({
 "router": {"ready": true},
 "queue": {"waiting": 7, "waiting_tokens": 900},
 "workers": [
  {"id": "prefill-0@1", "role": "prefill", "reachable": true, "draining": false, "suspect": false,
   "ejected": false, "report_age_ms": 12.5, "num_blocks": 100, "block_tokens": 16,
   "batch_sequences_max": 8, "step_tokens_max": 512,
   "load": {"waiting": 2, "running": 1, "waiting_tokens": 640, "blocks_active": 30,
    "prompt_tokens": 5000, "cached_tokens": 1000,
    "fit": {"base_ms": 1.5, "per_prefill_token_ms": 0.25, "per_decode_ms": 0.5,
            "per_context_token_ms": 0.001, "samples": 40}}},
  {"id": "decode-0@1", "role": "decode", "reachable": true, "draining": true},
  {"id": "decode-1@1", "role": "decode", "reachable": true, "suspect": true},
  {"role": "decode"}, {"id": "x", "role": "embedding"}, 7]})";

constexpr char kMetrics[] =
    "# HELP baton_requests_accepted_total x\n"
    "baton_requests_accepted_total 40\n"
    "baton_accepted_prompt_tokens_total 8000\n"
    "baton_request_duration_seconds_count 30\n"
    "baton_request_itl_seconds_sum 2.5\nbaton_request_itl_seconds_count 100\n"
    "baton_prompt_tokens_total 6000\nbaton_prompt_cached_tokens_total 1500\n"
    "baton_completion_tokens_total 900\nbaton_requests_without_worker_total 3\n";

TEST(RouterPageTest, AWorkerIsReadAsItIsWritten) {
  const auto sample = ReadRouter(kCluster, "");
  ASSERT_TRUE(sample.ok()) << sample.status();
  ASSERT_EQ(sample->workers.size(), 3u);
  const WorkerSample& worker = sample->workers[0];
  EXPECT_EQ(worker.id, "prefill-0@1");
  EXPECT_EQ(worker.pool, Pool::kPrefill);
  EXPECT_TRUE(worker.ready);
  EXPECT_EQ(worker.running, 1);
  EXPECT_EQ(worker.waiting, 2);
  EXPECT_EQ(worker.waiting_tokens, 640);
  EXPECT_EQ(worker.blocks_active, 30);
  EXPECT_EQ(worker.blocks, 100);
  EXPECT_EQ(worker.step_tokens_max, 512);
  EXPECT_EQ(worker.fit.samples, 40);
  EXPECT_DOUBLE_EQ(worker.fit.per_prefill_token_ms, 0.25);
  EXPECT_EQ(sample->queued_requests, 7);
  EXPECT_EQ(sample->queued_tokens, 900);
}

TEST(RouterPageTest, WhoLeavesOrIsSuspectIsNotReady) {
  const auto sample = ReadRouter(kCluster, "");
  ASSERT_TRUE(sample.ok()) << sample.status();
  EXPECT_TRUE(sample->workers[1].draining);
  EXPECT_FALSE(sample->workers[1].ready);
  EXPECT_FALSE(sample->workers[2].draining);
  EXPECT_FALSE(sample->workers[2].ready);
}

TEST(RouterPageTest, CountersComeFromTheMetrics) {
  const auto sample = ReadRouter(kCluster, kMetrics);
  ASSERT_TRUE(sample.ok()) << sample.status();
  EXPECT_EQ(sample->accepted, 40);
  EXPECT_EQ(sample->accepted_prompt_tokens, 8000);
  EXPECT_EQ(sample->completed, 30);
  EXPECT_EQ(sample->cached_tokens, 1500);
  EXPECT_EQ(sample->completion_tokens, 900);
  EXPECT_EQ(sample->without_worker, 3);
  EXPECT_DOUBLE_EQ(sample->itl_seconds, 2.5);
  EXPECT_EQ(sample->itl_tokens, 100);
}

TEST(RouterPageTest, OfSeveralModelsOneIsRead) {
  constexpr char kPage[] = R"({
   "queue": {"waiting": 7, "waiting_tokens": 900, "lines": [
    {"model": "chat", "waiting": 4, "waiting_tokens": 600}, {"model": "code", "waiting": 2},
    {"model": "chat", "waiting": 1, "waiting_tokens": 100}]},
   "workers": [{"id": "a@1", "role": "decode", "model": "chat"},
               {"id": "b@1", "role": "decode", "model": "code"}]})";
  constexpr char kFigures[] =
      "baton_requests_accepted_total{model=\"chat\"} 40\n"
      "baton_requests_accepted_total{model=\"code\"} 2\n"
      "baton_requests_accepted_total{other_model=\"chat\"} 1000\n"
      "baton_request_itl_seconds_sum{model=\"chat\"} 2.5\n";
  const auto chat = ReadRouter(kPage, kFigures, "chat");
  ASSERT_TRUE(chat.ok()) << chat.status();
  ASSERT_EQ(chat->workers.size(), 1u);
  EXPECT_EQ(chat->workers[0].id, "a@1");
  EXPECT_EQ(chat->queued_requests, 5);
  EXPECT_EQ(chat->queued_tokens, 700);
  EXPECT_EQ(chat->accepted, 40);
  EXPECT_DOUBLE_EQ(chat->itl_seconds, 2.5);
  const auto all = ReadRouter(kPage, kFigures);
  ASSERT_TRUE(all.ok()) << all.status();
  EXPECT_EQ(all->workers.size(), 2u);
  EXPECT_EQ(all->queued_requests, 7);
}

TEST(RouterPageTest, WhatIsNoPageIsRefused) {
  for (const char* text : {"", "[]", "{}", "{\"workers\": 3}", "{\"workers\": [", "\xff"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(ReadRouter(text, "").status())) << text;
  }
}

TEST(RouterPageTest, NumbersThatCannotBeAreNotBelieved) {
  const auto sample = ReadRouter(
      R"({"workers": [{"id": "a", "role": "decode", "num_blocks": 1e300, "block_tokens": -5,
          "load": {"running": "many", "waiting_tokens": 1e40, "fit": {"base_ms": -3}}}],
          "queue": {"waiting": -9}})",
      "baton_requests_accepted_total NaN\nbaton_prompt_tokens_total +Inf\n");
  ASSERT_TRUE(sample.ok()) << sample.status();
  EXPECT_EQ(sample->workers[0].blocks, 1'000'000'000);
  EXPECT_EQ(sample->workers[0].block_tokens, 0);
  EXPECT_EQ(sample->workers[0].running, 0);
  EXPECT_EQ(sample->workers[0].fit.base_ms, 0);
  EXPECT_EQ(sample->queued_requests, 0);
  EXPECT_EQ(sample->accepted, 0);
  EXPECT_EQ(sample->prompt_tokens, 0);
}

}  // namespace
}  // namespace baton::planner
