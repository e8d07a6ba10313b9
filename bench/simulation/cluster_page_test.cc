#include "bench/simulation/cluster_page.h"

#include <gtest/gtest.h>

#include "nlohmann/json.hpp"

namespace baton::simulation {
namespace {

using nlohmann::json;

json Page() {
  const json fit = {{"base_ms", 8.0},       {"per_prefill_token_ms", 0.06},
                    {"per_decode_ms", 0.5}, {"per_context_token_ms", 0.001},
                    {"residual_ms", 0.1},   {"samples", 900}};
  const json load = {{"fit", fit}, {"kv_bytes", 3'000'000}, {"kv_busy_seconds", 0.5}};
  json worker = {
      {"id", "decode-0"},           {"role", "decode"},           {"batch_sequences_max", 7},
      {"step_tokens_max", 512},     {"block_tokens", 16},         {"num_blocks", 1000},
      {"context_tokens_max", 4096}, {"kv_bytes_per_token", 3072}, {"load", load}};
  return {{"workers", json::array({worker})}};
}

TEST(ClusterPageTest, AWorkerIsWhatItHasMeasured) {
  const auto workers = WorkersOfPage(Page().dump());
  ASSERT_TRUE(workers.ok()) << workers.status();
  ASSERT_EQ(workers->size(), 1u);
  const WorkerSpec& worker = workers->front();
  EXPECT_EQ(worker.id, "decode-0");
  EXPECT_TRUE(worker.decode);
  EXPECT_EQ(worker.batch_max, 7);
  EXPECT_EQ(worker.fit.per_decode_ms, 0.5);
  EXPECT_EQ(worker.link_bytes_per_ms, 6000);
}

TEST(ClusterPageTest, WhatAPageLacksIsNamed) {
  json page = Page();
  page["workers"][0].erase("step_tokens_max");
  EXPECT_NE(WorkersOfPage(page.dump()).status().ToString().find("step_tokens_max"),
            std::string::npos);
  page = Page();
  page["workers"][0]["load"]["fit"]["samples"] = 2;
  EXPECT_NE(WorkersOfPage(page.dump()).status().ToString().find("2 steps"), std::string::npos);
  page["workers"][0] = 7;
  EXPECT_FALSE(WorkersOfPage(page.dump()).ok());
  EXPECT_FALSE(WorkersOfPage("{").ok());
}

}  // namespace
}  // namespace baton::simulation
