// The router's and the planner's own code against model workers: what a load that changes costs and
// gets with pools of a fixed size, with pools scaled by queue depth, and with planned ones.
//
//   scaling_simulation --load diurnal bursty shifting

#include <algorithm>
#include <fstream>

#include "CLI/CLI.hpp"
#include "bench/simulation/day.h"
#include "bench/simulation/queue_depth_hpa.h"
#include "bench/simulation/simulated_cluster.h"
#include "common/base/check.h"
#include "common/telemetry/logging.h"
#include "fmt/format.h"
#include "nlohmann/json.hpp"
#include "services/planner/sizing/planner.h"
#include "services/planner/watch/load_meter.h"

namespace baton::simulation {
namespace {

struct Flags {
  std::vector<std::string> loads = {"diurnal", "bursty", "shifting"};
  double peak = 24;
  double minutes = 20;
  double ttft_ms = 1000;
  double itl_ms = 30;
  double start_up_seconds = 20;
  double cool_down_seconds = 90;
  int pool_max = 8;
  std::vector<int> prefills = {1, 2, 3, 4};
  std::vector<int> decodes = {1, 2, 3, 4, 5};
  double hpa_prefill_target = 4096;
  std::vector<double> hpa_decode_targets = {16, 32, 64};
  bool no_static = false;
  bool show_plans = false;
  std::string json;
};

struct Row {
  std::string load, by;
  int requests = 0;
  double good_percent = 0, gpu_hours = 0, gpus_mean = 0;
  int gpus_max = 0, scalings = 0;
  double ttft_p95 = 0, itl_p95 = 0;
  Pools fixed;  // of a static split
};

// The planner as it runs in its own process, but for the sockets.
class Planned : public PoolScaler {
 public:
  Planned(const planner::PlanOptions& options, bool show) : planner_(options), show_(show) {}
  Pools Decide(const std::vector<RouterPages>& routers, Pools now, absl::Duration at) override {
    std::map<std::string, planner::RouterSample> samples;
    for (const RouterPages& pages : routers) {
      auto read = planner::ReadRouter(pages.cluster, pages.metrics);
      CHECK_OK(read.status());
      samples[fmt::format("router-{}", samples.size())] = *std::move(read);
    }
    const planner::Plan plan = planner_.Next(meter_.Look(samples, false, at), at);
    const Pools wanted{plan.prefill.desired, plan.decode.desired};
    if (show_ && wanted != now) {
      fmt::print(stderr, "{:5.0f} s  {}P {}D -> {}P {}D\n   P {}\n   D {}\n",
                 absl::ToDoubleSeconds(at), now.prefill, now.decode, wanted.prefill, wanted.decode,
                 plan.prefill.text(), plan.decode.text());
    }
    return wanted;
  }

 private:
  planner::LoadMeter meter_{{}};
  planner::Planner planner_;
  const bool show_;
};

// A medium model on one accelerator, in round figures, as in placement_simulation.
WorkerSpec MediumWorker(bool decode) {
  return {.decode = decode,
          .fit = {.base_ms = 8,
                  .per_prefill_token_ms = 0.06,
                  .per_decode_ms = 0.08,
                  .per_context_token_ms = 0.00002}};
}

std::vector<WorkerSpec> Workers(Pools pools) {
  std::vector<WorkerSpec> specs;
  for (int i = 0; i < pools.prefill + pools.decode; ++i) {
    const bool decode = i >= pools.prefill;
    specs.push_back(MediumWorker(decode));
    specs.back().id = fmt::format("{}-{}", decode ? "decode" : "prefill", i);
  }
  return specs;
}

double P95(std::vector<double> values) {
  if (values.empty()) return 0;
  const auto at =
      values.begin() + static_cast<int64_t>(0.95 * static_cast<double>(values.size() - 1));
  std::nth_element(values.begin(), at, values.end());
  return *at;
}

Row RunOnce(const Flags& flags, const std::vector<TraceRequest>& trace, Pools pools,
            PoolScaler* scaler) {
  ClusterOptions options{.workers = Workers(pools),
                         .itl_target_ms = flags.itl_ms,
                         .scaling = {.scaler = scaler,
                                     .start_up = absl::Seconds(flags.start_up_seconds),
                                     .prefill = MediumWorker(false),
                                     .decode = MediumWorker(true)},
                         .patience = absl::Minutes(10)};
  const RunResult result = Simulate(options, trace);
  Row row{.requests = static_cast<int>(result.outcomes.size()),
          .gpu_hours = (result.prefill_seconds + result.decode_seconds) / 3600,
          .gpus_max = result.workers_max,
          .scalings = result.scalings};
  std::vector<double> ttfts, itls;
  int good = 0;
  for (const Outcome& outcome : result.outcomes) {
    if (!outcome.completed) continue;
    ttfts.push_back(absl::ToDoubleMilliseconds(outcome.ttft));
    itls.push_back(outcome.tokens < 2 ? 0
                                      : absl::ToDoubleMilliseconds(outcome.e2e - outcome.ttft) /
                                            (outcome.tokens - 1));
    good += ttfts.back() <= flags.ttft_ms && itls.back() <= flags.itl_ms ? 1 : 0;
  }
  row.good_percent = 100.0 * good / row.requests;
  row.gpus_mean = row.gpu_hours * 60 / flags.minutes;
  row.ttft_p95 = P95(std::move(ttfts));
  row.itl_p95 = P95(std::move(itls));
  return row;
}

void Print(const Row& row) {
  fmt::print("| {} | {} | {:.1f} % | {:.2f} | {:.1f} / {} | {} | {:.0f} | {:.1f} |\n", row.load,
             row.by, row.good_percent, row.gpu_hours, row.gpus_mean, row.gpus_max, row.scalings,
             row.ttft_p95, row.itl_p95);
  std::fflush(stdout);
}

planner::PlanOptions PlanOptionsOf(const Flags& flags) {
  planner::PlanOptions options;
  options.targets.ttft = absl::Milliseconds(flags.ttft_ms);
  options.targets.itl = absl::Milliseconds(flags.itl_ms);
  options.prefill.max = options.decode.max = flags.pool_max;
  options.cool_down = absl::Seconds(flags.cool_down_seconds);
  return options;
}

// The fewest GPUs with which at least as much is within the SLO as with `row`, of these; and the
// most that is within it for at most as many GPU-hours.
void AddBest(const std::vector<Row>& fixed, const Row& row, std::vector<Row>& rows) {
  const Row* cheapest = nullptr;
  const Row* equal = nullptr;
  for (const Row& one : fixed) {
    if (one.good_percent >= row.good_percent &&
        (!cheapest || one.gpu_hours < cheapest->gpu_hours)) {
      cheapest = &one;
    }
    if (one.gpus_max <= static_cast<int>(row.gpus_mean) &&
        (!equal || one.good_percent > equal->good_percent)) {
      equal = &one;
    }
  }
  for (const auto& [best, what] :
       {std::pair(cheapest, "the fewest GPUs that are as good as the planner"),
        std::pair(equal, "the best for as many GPU-hours")}) {
    if (best == nullptr) continue;
    rows.push_back(*best);
    rows.back().by =
        fmt::format("static {}P {}D, {}", best->fixed.prefill, best->fixed.decode, what);
    Print(rows.back());
  }
}

std::vector<Row> RunLoad(const Flags& flags, const std::string& load) {
  const auto trace = MakeDay(load, flags.peak, absl::Minutes(flags.minutes), 1);
  std::vector<Row> rows;
  const auto add = [&](std::string by, PoolScaler& scaler) {
    rows.push_back(RunOnce(flags, trace, {1, 1}, &scaler));
    rows.back().load = load;
    rows.back().by = std::move(by);
    Print(rows.back());
  };
  Planned planned(PlanOptionsOf(flags), flags.show_plans);
  add("planner", planned);
  for (const double target : flags.hpa_decode_targets) {
    QueueDepthHpa hpa({.prefill_target = flags.hpa_prefill_target,
                       .decode_target = target,
                       .prefill_max = flags.pool_max,
                       .decode_max = flags.pool_max,
                       .window = absl::Seconds(flags.cool_down_seconds)});
    add(fmt::format("HPA, {:.0f} tokens, {:.0f} sequences", flags.hpa_prefill_target, target), hpa);
  }
  if (flags.no_static) return rows;
  std::vector<Row> fixed;
  for (const int prefill : flags.prefills) {
    for (const int decode : flags.decodes) {
      fixed.push_back(RunOnce(flags, trace, {prefill, decode}, nullptr));
      fixed.back().load = load;
      fixed.back().fixed = {prefill, decode};
    }
  }
  const Row mine = rows.front();
  AddBest(fixed, mine, rows);
  for (Row& row : fixed) {
    row.by = fmt::format("static {}P {}D", row.fixed.prefill, row.fixed.decode);
    rows.push_back(row);
  }
  return rows;
}

nlohmann::json ToJson(const Row& row) {
  return {{"load", row.load},
          {"by", row.by},
          {"requests", row.requests},
          {"good_percent", row.good_percent},
          {"gpu_hours", row.gpu_hours},
          {"gpus_mean", row.gpus_mean},
          {"gpus_max", row.gpus_max},
          {"scalings", row.scalings},
          {"ttft_ms_p95", row.ttft_p95},
          {"itl_ms_p95", row.itl_p95}};
}

int Main(const Flags& flags, const std::string& command) {
  fmt::print(
      "| load | scaled by | within SLO | GPU-hours | GPUs mean / most | changes | TTFT ms p95 | "
      "ITL ms p95 |\n"
      "| --- | --- | --- | --- | --- | --- | --- | --- |\n");
  nlohmann::json rows = nlohmann::json::array();
  for (const std::string& load : flags.loads) {
    for (const Row& row : RunLoad(flags, load)) rows.push_back(ToJson(row));
  }
  if (flags.json.empty()) return 0;
  std::ofstream(flags.json)
      << nlohmann::json{{"command", command},
                        {"slo", {{"ttft_ms", flags.ttft_ms}, {"itl_ms", flags.itl_ms}}},
                        {"rows", rows}}
             .dump(1)
      << "\n";
  return 0;
}

}  // namespace
}  // namespace baton::simulation

int main(int argc, char** argv) {
  baton::telemetry::InitLogging("simulation", baton::telemetry::Level::kError,
                                baton::telemetry::Format::kText);
  baton::simulation::Flags flags;
  CLI::App app("Pools of fixed, of reactive and of planned size under a load that changes.");
  app.add_option("--load", flags.loads, "diurnal, bursty, shifting");
  app.add_option("--peak", flags.peak, "requests a second at most");
  app.add_option("--minutes", flags.minutes, "of load");
  app.add_option("--ttft-ms", flags.ttft_ms, "the SLO, and the planner's target");
  app.add_option("--itl-ms", flags.itl_ms,
                 "the SLO, of a request's mean, and the planner's target");
  app.add_option("--start-up-s", flags.start_up_seconds, "until a new worker may work");
  app.add_option("--cool-down-s", flags.cool_down_seconds,
                 "of planner and HPA, before a pool shrinks");
  app.add_option("--pool-max", flags.pool_max, "workers of one pool, scaled");
  app.add_option("--prefill", flags.prefills, "static splits: prefill workers");
  app.add_option("--decode", flags.decodes, "static splits: decode workers");
  app.add_option("--hpa-prefill-target", flags.hpa_prefill_target, "prompt tokens that wait");
  app.add_option("--hpa-decode-target", flags.hpa_decode_targets, "sequences; several: a run each");
  app.add_flag("--no-static", flags.no_static, "only what scales");
  app.add_flag("--show-plans", flags.show_plans, "each changed plan with its reasons, on stderr");
  app.add_option("--json", flags.json, "every run's figures, written there");
  CLI11_PARSE(app, argc, argv);
  std::string command = "scaling_simulation";
  for (int i = 1; i < argc; ++i) command += std::string(" ") + argv[i];
  return baton::simulation::Main(flags, command);
}
