// The router's own code against model workers: what each placement policy makes of a trace.
//
//   placement_simulation --trace chat --workers 16 --prefill 4 --rate 20 --policy cost --policy …
//   placement_simulation --mooncake trace.jsonl …
//   placement_simulation --cluster page.json --mooncake trace.jsonl --policy cost --each out.jsonl

#include <algorithm>
#include <fstream>
#include <iterator>

#include "CLI/CLI.hpp"
#include "bench/simulation/cluster_page.h"
#include "bench/simulation/figures.h"
#include "bench/simulation/medium_model.h"
#include "bench/simulation/simulated_cluster.h"
#include "common/base/check.h"
#include "common/telemetry/logging.h"
#include "fmt/format.h"
#include "services/router/placement/policies.h"

namespace baton::simulation {
namespace {

struct Flags {
  std::vector<std::string> traces = {"chat", "agent", "rag", "batch"};
  std::string mooncake;
  std::string cluster;
  std::vector<std::string> policies;
  std::vector<int> prefills = {4};
  std::vector<int> routers = {1};
  int workers = 16;
  double rate = 20;
  double seconds = 60;
  Slo slo;
  double itl_target_ms = 0;
  double hop_ms = 0.3;
  double step_gap_ms = 0;
  double handover_ms = 0;
  std::string json;
  std::string each;
};

struct Row {
  std::string trace, policy;
  int routers = 0, prefill = 0, decode = 0, requests = 0, completed = 0;
  double good_percent = 0, goodput = 0;
  double ttft_p50 = 0, ttft_p95 = 0, ttft_p99 = 0, itl_p50 = 0, itl_p95 = 0;
  double hit_percent = 0, busiest = 0, router_us = 0;
};

std::vector<WorkerSpec> MediumModel(int workers, int prefills) {
  std::vector<WorkerSpec> specs;
  for (int i = 0; i < workers; ++i) specs.push_back(MediumWorker(i >= prefills, i));
  return specs;
}

std::vector<WorkerSpec> ReadCluster(const std::string& path) {
  std::ifstream file(path);
  CHECK(file, "cannot read {}", path);
  auto workers = WorkersOfPage(std::string(std::istreambuf_iterator<char>(file), {}));
  CHECK(workers.ok(), "--cluster {}: {}", path, workers.status().ToString());
  return *std::move(workers);
}

ClusterOptions OptionsOf(const Flags& flags, const std::string& policy, int prefills, int routers) {
  return {.workers = flags.cluster.empty() ? MediumModel(flags.workers, prefills)
                                           : ReadCluster(flags.cluster),
          .hops = {.message = absl::Milliseconds(flags.hop_ms),
                   .step_gap = absl::Milliseconds(flags.step_gap_ms),
                   .handover = absl::Milliseconds(flags.handover_ms)},
          .routers = routers,
          .policy = policy,
          .itl_target_ms = flags.itl_target_ms,
          .patience = absl::Seconds(flags.seconds * 3 + 60)};
}

Row RowOf(const Flags& flags, const RunResult& result, double trace_seconds) {
  const Figures figures = FiguresOf(result, flags.slo);
  return {.requests = figures.requests,
          .completed = figures.completed,
          .good_percent = figures.good_percent(),
          .goodput = figures.good / std::max(trace_seconds, 1e-9),
          .ttft_p50 = Quantile(figures.ttft_ms, 0.5),
          .ttft_p95 = Quantile(figures.ttft_ms, 0.95),
          .ttft_p99 = Quantile(figures.ttft_ms, 0.99),
          .itl_p50 = Quantile(figures.itl_ms, 0.5),
          .itl_p95 = Quantile(figures.itl_ms, 0.95),
          .hit_percent = result.hit_percent,
          .busiest = result.busiest,
          .router_us = result.router_us / figures.requests};
}

void Print(const Row& row) {
  fmt::print(
      "| {} | {} | {}R {}P {}D | {:.1f} % | {:.1f} | {:.0f} / {:.0f} / {:.0f} | {:.1f} / {:.1f} | "
      "{:.0f} % | {:.2f} | {:.0f} |\n",
      row.trace, row.policy, row.routers, row.prefill, row.decode, row.good_percent, row.goodput,
      row.ttft_p50, row.ttft_p95, row.ttft_p99, row.itl_p50, row.itl_p95, row.hit_percent,
      row.busiest, row.router_us);
  std::fflush(stdout);
}

nlohmann::json ToJson(const Row& row) {
  return {{"trace", row.trace},
          {"policy", row.policy},
          {"routers", row.routers},
          {"prefill_workers", row.prefill},
          {"decode_workers", row.decode},
          {"requests", row.requests},
          {"completed", row.completed},
          {"good_percent", row.good_percent},
          {"goodput_per_s", row.goodput},
          {"ttft_ms_p50", row.ttft_p50},
          {"ttft_ms_p95", row.ttft_p95},
          {"ttft_ms_p99", row.ttft_p99},
          {"itl_ms_p50", row.itl_p50},
          {"itl_ms_p95", row.itl_p95},
          {"hit_percent", row.hit_percent},
          {"busiest_over_mean", row.busiest},
          {"router_us_per_request", row.router_us}};
}

// As `baton bench --each`.
void WriteEach(const std::string& path, const std::vector<TraceRequest>& trace,
               const RunResult& result) {
  std::ofstream file(path);
  for (size_t i = 0; i < result.outcomes.size(); ++i) {
    const Outcome& outcome = result.outcomes[i];
    file << nlohmann::json{{"begun_ms", absl::ToDoubleMilliseconds(trace[i].at - trace.front().at)},
                           {"error", outcome.completed ? "" : "not completed"},
                           {"ttft_ms", absl::ToDoubleMilliseconds(outcome.ttft)},
                           {"e2e_ms", absl::ToDoubleMilliseconds(outcome.e2e)},
                           {"output_tokens", outcome.tokens}}
                .dump()
         << "\n";
  }
  CHECK(file.flush(), "--each {}: cannot be written", path);
}

std::vector<std::pair<std::string, std::vector<TraceRequest>>> TracesOf(const Flags& flags) {
  std::vector<std::pair<std::string, std::vector<TraceRequest>>> traces;
  if (!flags.mooncake.empty()) {
    auto read = cli::ReadTrace(flags.mooncake);
    CHECK_OK(read.status());
    traces.emplace_back("mooncake", *std::move(read));
    return traces;
  }
  for (const std::string& wanted : flags.traces) {
    const size_t colon = wanted.find(':');
    const double rate =
        colon == std::string::npos ? flags.rate : std::stod(wanted.substr(colon + 1));
    const std::string shape = wanted.substr(0, colon);
    traces.emplace_back(shape, MakeTrace(shape, rate, absl::Seconds(flags.seconds), 1));
  }
  return traces;
}

int Main(const Flags& flags, const std::string& command) {
  fmt::print(
      "| trace | policy | routers, workers | within SLO | goodput /s | TTFT ms p50 / p95 / p99 "
      "| ITL ms p50 / p95 | cached | busiest / mean | router µs |\n"
      "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n");
  nlohmann::json rows = nlohmann::json::array();
  const auto run = [&](const std::string& name, const std::vector<TraceRequest>& trace,
                       int prefills, int routers, const std::string& policy) {
    const ClusterOptions options = OptionsOf(flags, policy, prefills, routers);
    const RunResult result = Simulate(options, trace);
    Row row = RowOf(flags, result, absl::ToDoubleSeconds(trace.back().at - trace.front().at));
    row.trace = name;
    row.policy = policy;
    row.routers = routers;
    for (const WorkerSpec& worker : options.workers) ++(worker.decode ? row.decode : row.prefill);
    Print(row);
    rows.push_back(ToJson(row));
    if (!flags.each.empty()) WriteEach(flags.each, trace, result);
  };
  for (const auto& [name, trace] : TracesOf(flags)) {
    for (const int prefills : flags.prefills) {
      for (const int routers : flags.routers) {
        for (const std::string& policy : flags.policies)
          run(name, trace, prefills, routers, policy);
      }
    }
  }
  WriteRows(flags.json, command, flags.slo, std::move(rows));
  return 0;
}

}  // namespace
}  // namespace baton::simulation

int main(int argc, char** argv) {
  baton::telemetry::InitLogging("simulation", baton::telemetry::Level::kError,
                                baton::telemetry::Format::kText);
  baton::simulation::Flags flags;
  for (const std::string_view name : baton::router::PolicyNames())
    flags.policies.emplace_back(name);
  CLI::App app("Placement policies against model workers.");
  app.add_option("--trace", flags.traces,
                 "chat, agent, rag, batch; with :N, so many requests a second");
  app.add_option("--mooncake", flags.mooncake, "a trace file instead");
  app.add_option("--cluster", flags.cluster,
                 "a router's /debug/cluster page, saved: its workers, as they have measured "
                 "themselves, instead of --workers and --prefill");
  app.add_option("--policy", flags.policies, "default: all");
  app.add_option("--workers", flags.workers, "in all");
  app.add_option("--prefill", flags.prefills, "of these, prefill workers; several: one run each");
  app.add_option("--routers", flags.routers, "over the same workers; several: one run each")
      ->check(CLI::Range(1, 64));
  app.add_option("--rate", flags.rate, "requests a second");
  app.add_option("--seconds", flags.seconds, "of trace");
  app.add_option("--ttft-ms", flags.slo.ttft_ms, "the SLO");
  app.add_option("--itl-ms", flags.slo.itl_ms, "the SLO, of a request's mean");
  app.add_option("--itl-target-ms", flags.itl_target_ms, "what `cost` is told (router.itl_target)");
  app.add_option("--hop-ms", flags.hop_ms, "a message one way, between any two processes");
  app.add_option("--step-gap-ms", flags.step_gap_ms, "what a step takes beyond its fit");
  app.add_option("--handover-ms", flags.handover_ms,
                 "what a remote prefill takes beyond messages, computing and sending");
  app.add_option("--json", flags.json, "written there as well");
  app.add_option("--each", flags.each, "a line of JSON per request of the last run there");
  CLI11_PARSE(app, argc, argv);
  return baton::simulation::Main(
      flags, baton::simulation::CommandText("placement_simulation", argc, argv));
}
