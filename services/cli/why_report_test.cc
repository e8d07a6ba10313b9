#include "services/cli/why_report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace baton::cli {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr char kCandidate[] =
    R"({"decode":"d0","prefill":"%","cached_tokens_decode":16,"cached_tokens_prefill":0,
        "queue_ms":1.5,"prefill_ms":20,"transfer_ms":0,"decode_ms":3,"harm_ms":0,"crowding_ms":0,
        "ttft_ms":21.5,"total_ms":24.5})";

std::string Candidate(const std::string& prefill) {
  std::string text = kCandidate;
  return text.replace(text.find('%'), 1, prefill);
}

std::string Request(const std::string& candidates, const std::string& measured,
                    const std::string& left_because = "", int total = 1) {
  return R"({"request":"r1","state":"completed","model":"m","prompt_tokens":64,
             "completion_tokens":8,"ttft_ms":30,"total_ms":60,"placements_total":)" +
         std::to_string(total) +
         R"(,"placements":[{"after_ms":0.2,"expected_ttft_ms":21.5,"left_because":")" +
         left_because + R"(","measured":)" + measured +
         R"(,"decision":{"policy":"cost","reason":"remote_cheaper","decode":"d0",
             "prefill":["p0"],"candidates":[)" +
         candidates + "]}}]}";
}

TEST(WhyReportTest, MarksTheChosenCandidateAndComparesIt) {
  const auto text = WhyText(Request(Candidate("p0") + "," + Candidate(""),
                                    R"({"queued_ms":2.5,"prefill_ms":25,"prefill_worker":"p0",
                                        "prompt_tokens":64,"cached_tokens":16,"kv_bytes":2097152,
                                        "kv_exposed_ms":0.5,"preemptions":0,"failures":[]})"));
  ASSERT_TRUE(text.ok()) << text.status();
  EXPECT_THAT(*text, HasSubstr("* d0"));
  EXPECT_THAT(*text, HasSubstr("(the same)"));
  EXPECT_THAT(*text, HasSubstr("2.0 MiB of KV"));
  EXPECT_THAT(*text, HasSubstr("16 tokens were cached"));
  EXPECT_THAT(*text, HasSubstr("21.5"));
}

TEST(WhyReportTest, TellsWhyAPromptMeantForTheDecodeWorkerWasComputedElsewhere) {
  std::string request = Request(Candidate(""), R"({"queued_ms":2.5,"prefill_ms":25,
      "prefill_worker":"p1","prompt_tokens":64,"cached_tokens":0,"kv_bytes":4096,
      "kv_exposed_ms":0.5,"preemptions":0,"failures":[]})");
  const std::string placed = R"("prefill":["p0"])";
  request.replace(request.find(placed), placed.size(),
                  R"("prefill":[],"spare_prefill":["p1"],"local_wait_max_ms":12.25)");
  const auto text = WhyText(request);
  ASSERT_TRUE(text.ok()) << text.status();
  EXPECT_THAT(*text, HasSubstr("computed on p1"));
  EXPECT_THAT(*text, HasSubstr("the prompts ahead here would have taken more than 12.2 ms"));
}

// The decode worker knows more when the request's turn comes.
TEST(WhyReportTest, TellsWhyAPromptMeantForAPrefillWorkerWasComputedElsewhere) {
  const auto measured = [](const std::string& failures) {
    return R"({"queued_ms":2.5,"prefill_ms":25,"prefill_worker":"","prompt_tokens":64,
               "cached_tokens":48,"kv_bytes":0,"kv_exposed_ms":0,"preemptions":0,"failures":[)" +
           failures + "]}";
  };
  const auto kept = WhyText(Request(Candidate("p0"), measured("")));
  ASSERT_TRUE(kept.ok()) << kept.status();
  EXPECT_THAT(*kept, HasSubstr("its cache left a block at most when its turn came"));
  const auto failed = WhyText(Request(
      Candidate("p0"), measured(R"({"prefill_worker":"p0","code":14,"message":"is dead"})")));
  ASSERT_TRUE(failed.ok()) << failed.status();
  EXPECT_THAT(*failed, HasSubstr("nobody delivered"));
  EXPECT_THAT(*failed, HasSubstr("p0 did not deliver: is dead"));
}

TEST(WhyReportTest, APolicyWithoutEstimatesSaysSo) {
  const auto text = WhyText(Request("", "null", "the decode worker was lost", 9));
  ASSERT_TRUE(text.ok()) << text.status();
  EXPECT_THAT(*text, HasSubstr("compares no estimates"));
  EXPECT_THAT(*text, HasSubstr("has not spoken"));
  EXPECT_THAT(*text, HasSubstr("went on elsewhere: the decode worker was lost"));
  EXPECT_THAT(*text, HasSubstr("8 placements that are not kept"));
}

TEST(WhyReportTest, TellsTheWaitInTheRouter) {
  const std::string never = R"({"request":"r1","state":"waiting","model":"m","tenant":"gold",
      "router_queue_ms":41.25,"prompt_tokens":64,"completion_tokens":0,"ttft_ms":null,
      "total_ms":41.5,"placements_total":0,"placements":[]})";
  const auto text = WhyText(never);
  ASSERT_TRUE(text.ok()) << text.status();
  EXPECT_THAT(*text, HasSubstr("waited 41.2 ms in the router's queue, as tenant gold"));
  EXPECT_THAT(*text, HasSubstr("It was never placed."));
  const auto at_once = WhyText(Request("", "null"));
  ASSERT_TRUE(at_once.ok()) << at_once.status();
  EXPECT_THAT(*at_once, Not(HasSubstr("router's queue")));
}

TEST(WhyReportTest, WhatIsNoReportIsRefused) {
  EXPECT_FALSE(WhyText("{}").ok());
  EXPECT_FALSE(WhyText("<html>").ok());
}

}  // namespace
}  // namespace baton::cli
