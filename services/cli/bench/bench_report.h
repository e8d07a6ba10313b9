#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "nlohmann/json.hpp"
#include "services/cli/bench/bench_options.h"
#include "services/cli/bench/load_driver.h"

namespace baton::cli {

struct Quantiles {
  double mean = 0, p50 = 0, p90 = 0, p99 = 0, max = 0;  // milliseconds
  size_t count = 0;
};
// Exact, by sorting; all zero for no values.
Quantiles QuantilesOf(std::vector<absl::Duration> values);

// The counted requests of one load in figures.
struct BenchReport {
  double seconds = 0;
  size_t requests = 0, completed = 0, remote_prefills = 0;
  std::map<std::string, size_t> errors;  // by code
  std::string first_error;
  Quantiles ttft, itl, tpot, e2e, late;
  double request_rate = 0;       // completed per second
  double prompt_token_rate = 0;  // of completed requests, per second
  double output_token_rate = 0;
  double cached_share = 0;  // of prompt tokens
  double goodput = 0;       // completed within the targets, per second
  double good_share = 0;    // of all requests, failed ones included
};

BenchReport MakeReport(const LoadResult& result, const BenchOptions& options);
std::string TableOf(const BenchReport& report, const BenchOptions& options);
nlohmann::json JsonOf(const BenchReport& report, const BenchOptions& options);
// A line of JSON per request, in the order in which they were due.
std::string LinesOf(const LoadResult& result);

}  // namespace baton::cli
