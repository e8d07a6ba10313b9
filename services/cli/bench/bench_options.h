#pragma once

#include <cstdint>
#include <string>

#include "absl/time/time.h"
#include "common/config/option_set.h"
#include "services/cli/bench/length_distribution.h"
#include "services/cli/client_options.h"

namespace baton::cli {

struct BenchOptions {
  ClientOptions client;
  config::Address http{"127.0.0.1", 8000};  // /debug/cluster, for KV transfer figures; empty: none

  double rate = 0;             // requests per second, Poisson; 0: closed loop
  std::string trace;           // file that says when to send what; empty: none
  double trace_speed = 1;      // its seconds pass so many times as fast
  int32_t concurrency = 1;     // closed loop: requests under way at any time
  int32_t inflight_max = 512;  // open loop: beyond it a request counts as dropped
  int32_t requests = 0;        // 0: by duration
  absl::Duration duration = absl::Seconds(30);
  absl::Duration warmup = absl::ZeroDuration();  // sent, not counted
  std::string prompt_text = "lognormal:200,0.6";
  std::string output_text = "lognormal:64,0.5";
  double shared_share = 0;    // of requests that begin with the shared prefix
  int32_t shared_tokens = 0;  // its length
  std::string corpus;         // prompts are pieces of this text; empty: random tokens
  double temperature = 1;
  int64_t seed = 1;
  absl::Duration timeout = absl::Minutes(5);
  absl::Duration slo_ttft = absl::ZeroDuration();
  absl::Duration slo_itl = absl::ZeroDuration();
  std::string json;  // file; "-": stdout; empty: none
  std::string each;  // file, a line of JSON per request; empty: none
  std::string note;  // kept in the JSON

  LengthDistribution prompt_tokens, output_tokens;  // parsed by Validate

  // Requests come when they are due, whether or not earlier ones have ended.
  bool open_loop() const { return rate > 0 || !trace.empty(); }

  void AddTo(config::OptionSet& client_set, config::OptionSet& load_set,
             config::OptionSet& report_set);
  absl::Status Validate();
};

}  // namespace baton::cli
