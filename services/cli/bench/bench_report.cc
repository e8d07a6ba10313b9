#include "services/cli/bench/bench_report.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "common/config/units.h"
#include "fmt/format.h"

namespace baton::cli {
namespace {

// The smallest value that at least a share `q` of all reach.
double At(const std::vector<absl::Duration>& sorted, double q) {
  const size_t rank = static_cast<size_t>(std::ceil(q * static_cast<double>(sorted.size())));
  return absl::ToDoubleMilliseconds(sorted[std::max<size_t>(rank, 1) - 1]);
}

bool MeetsTargets(const Outcome& outcome, const BenchOptions& options) {
  if (options.slo_ttft > absl::ZeroDuration() && outcome.ttft > options.slo_ttft) return false;
  return options.slo_itl == absl::ZeroDuration() || outcome.tpot() <= options.slo_itl;
}

std::string Row(const char* name, const Quantiles& q) {
  return fmt::format("  {:<28} {:>9.2f} {:>9.2f} {:>9.2f} {:>9.2f} {:>9.2f}\n", name, q.mean, q.p50,
                     q.p90, q.p99, q.max);
}

nlohmann::json JsonOf(const Quantiles& q) {
  return {{"count", q.count}, {"mean", q.mean}, {"p50", q.p50},
          {"p90", q.p90},     {"p99", q.p99},   {"max", q.max}};
}

}  // namespace

Quantiles QuantilesOf(std::vector<absl::Duration> values) {
  if (values.empty()) return {};
  std::sort(values.begin(), values.end());
  const absl::Duration sum = std::accumulate(values.begin(), values.end(), absl::ZeroDuration());
  return {.mean = absl::ToDoubleMilliseconds(sum) / static_cast<double>(values.size()),
          .p50 = At(values, 0.5),
          .p90 = At(values, 0.9),
          .p99 = At(values, 0.99),
          .max = absl::ToDoubleMilliseconds(values.back()),
          .count = values.size()};
}

BenchReport MakeReport(const LoadResult& result, const BenchOptions& options) {
  BenchReport report;
  report.seconds = absl::ToDoubleSeconds(result.measured);
  std::vector<absl::Duration> ttft, itl, tpot, e2e, late;
  double prompt = 0, cached = 0, output = 0, good = 0;
  for (const Outcome& outcome : result.outcomes) {
    if (!outcome.counted) continue;
    ++report.requests;
    late.push_back(outcome.late);
    if (!outcome.ok) {
      ++report.errors[outcome.error];
      if (report.first_error.empty()) report.first_error = outcome.error_message;
      continue;
    }
    ++report.completed;
    report.remote_prefills += outcome.remote_prefill ? 1 : 0;
    ttft.push_back(outcome.ttft);
    e2e.push_back(outcome.e2e);
    if (outcome.output_tokens > 1) tpot.push_back(outcome.tpot());
    itl.insert(itl.end(), outcome.gaps.begin(), outcome.gaps.end());
    prompt += outcome.prompt_tokens;
    cached += outcome.cached_tokens;
    output += outcome.output_tokens;
    good += MeetsTargets(outcome, options) ? 1 : 0;
  }
  report.ttft = QuantilesOf(std::move(ttft));
  report.itl = QuantilesOf(std::move(itl));
  report.tpot = QuantilesOf(std::move(tpot));
  report.e2e = QuantilesOf(std::move(e2e));
  report.late = QuantilesOf(std::move(late));
  const double seconds = std::max(report.seconds, 1e-9);
  report.request_rate = static_cast<double>(report.completed) / seconds;
  report.prompt_token_rate = prompt / seconds;
  report.output_token_rate = output / seconds;
  report.cached_share = prompt > 0 ? cached / prompt : 0;
  report.goodput = good / seconds;
  report.good_share = report.requests > 0 ? good / static_cast<double>(report.requests) : 0;
  return report;
}

std::string TableOf(const BenchReport& r, const BenchOptions& options) {
  std::string text =
      fmt::format("{} requests in {:.1f} s: {} completed ({} with remote prefill), {} not\n",
                  r.requests, r.seconds, r.completed, r.remote_prefills, r.requests - r.completed);
  for (const auto& [code, count] : r.errors) text += fmt::format("  {} {}\n", count, code);
  if (!r.first_error.empty()) text += fmt::format("  first: {}\n", r.first_error);
  text += fmt::format("\n  {:<28} {:>9} {:>9} {:>9} {:>9} {:>9}\n", "milliseconds", "mean", "p50",
                      "p90", "p99", "max");
  text += Row("TTFT", r.ttft) + Row("ITL", r.itl) + Row("TPOT (per request)", r.tpot) +
          Row("whole request", r.e2e);
  if (options.open_loop()) text += Row("sent late (counted above)", r.late);
  text += fmt::format("\n  {:<28} {:>9.2f} requests/s\n", "throughput", r.request_rate);
  text += fmt::format("  {:<28} {:>9.1f} tokens/s\n", "output", r.output_token_rate);
  text += fmt::format("  {:<28} {:>9.1f} tokens/s, {:.1f} % cached\n", "prompt",
                      r.prompt_token_rate, 100 * r.cached_share);
  if (options.slo_ttft > absl::ZeroDuration() || options.slo_itl > absl::ZeroDuration()) {
    text += fmt::format("  {:<28} {:>9.2f} requests/s, {:.1f} % of all\n", "goodput", r.goodput,
                        100 * r.good_share);
  }
  return text;
}

std::string LinesOf(const LoadResult& result) {
  std::vector<const Outcome*> outcomes;
  for (const Outcome& outcome : result.outcomes) outcomes.push_back(&outcome);
  std::stable_sort(outcomes.begin(), outcomes.end(),
                   [](const Outcome* a, const Outcome* b) { return a->begun < b->begun; });
  std::string lines;
  for (const Outcome* outcome : outcomes) {
    lines += nlohmann::json{{"begun_ms", absl::ToDoubleMilliseconds(outcome->begun)},
                            {"counted", outcome->counted},
                            {"error", outcome->error},
                            {"ttft_ms", absl::ToDoubleMilliseconds(outcome->ttft)},
                            {"e2e_ms", absl::ToDoubleMilliseconds(outcome->e2e)},
                            {"late_ms", absl::ToDoubleMilliseconds(outcome->late)},
                            {"prompt_tokens", outcome->prompt_tokens},
                            {"cached_tokens", outcome->cached_tokens},
                            {"output_tokens", outcome->output_tokens},
                            {"remote_prefill", outcome->remote_prefill}}
                 .dump() +
             "\n";
  }
  return lines;
}

nlohmann::json JsonOf(const BenchReport& r, const BenchOptions& o) {
  return {{"load",
           {{"rate", o.rate},
            {"trace", o.trace},
            {"trace_speed", o.trace_speed},
            {"concurrency", o.open_loop() ? 0 : o.concurrency},
            {"prompt_tokens", o.prompt_tokens.text()},
            {"output_tokens", o.output_tokens.text()},
            {"shared_prefix_share", o.shared_share},
            {"shared_prefix_tokens", o.shared_tokens},
            {"seed", o.seed}}},
          {"seconds", r.seconds},
          {"requests", r.requests},
          {"completed", r.completed},
          {"remote_prefills", r.remote_prefills},
          {"errors", r.errors},
          {"ttft_ms", JsonOf(r.ttft)},
          {"itl_ms", JsonOf(r.itl)},
          {"tpot_ms", JsonOf(r.tpot)},
          {"e2e_ms", JsonOf(r.e2e)},
          {"late_ms", JsonOf(r.late)},
          {"requests_per_second", r.request_rate},
          {"output_tokens_per_second", r.output_token_rate},
          {"prompt_tokens_per_second", r.prompt_token_rate},
          {"cached_share", r.cached_share},
          {"slo",
           {{"ttft_ms", absl::ToDoubleMilliseconds(o.slo_ttft)},
            {"itl_ms", absl::ToDoubleMilliseconds(o.slo_itl)}}},
          {"goodput_per_second", r.goodput},
          {"good_share", r.good_share}};
}

}  // namespace baton::cli
