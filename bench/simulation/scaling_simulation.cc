// The router's and the planner's own code against model workers: what a load that changes costs and
// gets with pools of a fixed size, with pools scaled by queue depth, and with planned ones.
//
//   scaling_simulation --load diurnal bursty shifting

#include "CLI/CLI.hpp"
#include "bench/simulation/day.h"
#include "bench/simulation/figures.h"
#include "bench/simulation/medium_model.h"
#include "bench/simulation/queue_depth_hpa.h"
#include "common/base/check.h"
#include "common/telemetry/logging.h"
#include "fmt/format.h"
#include "services/planner/sizing/planner.h"
#include "services/planner/watch/load_meter.h"

namespace baton::simulation {
namespace {

struct Flags {
  std::vector<std::string> loads = {"diurnal", "bursty", "shifting"};
  double peak = 24;
  double minutes = 20;
  Slo slo;
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

std::vector<WorkerSpec> Workers(Pools pools) {
  std::vector<WorkerSpec> specs;
  for (int i = 0; i < pools.prefill + pools.decode; ++i) {
    specs.push_back(MediumWorker(i >= pools.prefill, i));
  }
  return specs;
}

Row RunOnce(const Flags& flags, const std::vector<TraceRequest>& trace, Pools pools,
            PoolScaler* scaler) {
  ClusterOptions options{.workers = Workers(pools),
                         .itl_target_ms = flags.slo.itl_ms,
                         .scaling = {.scaler = scaler,
                                     .start_up = absl::Seconds(flags.start_up_seconds),
                                     .prefill = MediumWorker(false, 0),
                                     .decode = MediumWorker(true, 0)},
                         .patience = absl::Minutes(10)};
  const RunResult result = Simulate(options, trace);
  const Figures figures = FiguresOf(result, flags.slo);
  const double gpu_hours = (result.prefill_seconds + result.decode_seconds) / 3600;
  return {.requests = figures.requests,
          .good_percent = figures.good_percent(),
          .gpu_hours = gpu_hours,
          .gpus_mean = gpu_hours * 60 / flags.minutes,
          .gpus_max = result.workers_max,
          .scalings = result.scalings,
          .ttft_p95 = Quantile(figures.ttft_ms, 0.95),
          .itl_p95 = Quantile(figures.itl_ms, 0.95)};
}

void Print(const Row& row) {
  fmt::print("| {} | {} | {:.1f} % | {:.2f} | {:.1f} / {} | {} | {:.0f} | {:.1f} |\n", row.load,
             row.by, row.good_percent, row.gpu_hours, row.gpus_mean, row.gpus_max, row.scalings,
             row.ttft_p95, row.itl_p95);
  std::fflush(stdout);
}

planner::PlanOptions PlanOptionsOf(const Flags& flags) {
  planner::PlanOptions options;
  options.targets.ttft = absl::Milliseconds(flags.slo.ttft_ms);
  options.targets.itl = absl::Milliseconds(flags.slo.itl_ms);
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
  WriteRows(flags.json, command, flags.slo, std::move(rows));
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
  app.add_option("--ttft-ms", flags.slo.ttft_ms, "the SLO, and the planner's target");
  app.add_option("--itl-ms", flags.slo.itl_ms,
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
  return baton::simulation::Main(flags,
                                 baton::simulation::CommandText("scaling_simulation", argc, argv));
}
