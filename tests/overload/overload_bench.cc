// What overload does: the time to a refusal, and the times of those that are accepted, beside the
// same router and worker below their capacity. Open loop over HTTP; one worker that keeps time.
#include <CLI/CLI.hpp>
#include <fstream>
#include <iostream>

#include "fmt/format.h"
#include "nlohmann/json.hpp"
#include "tests/contract/router/router_cluster.h"
#include "tests/overload/load_driver.h"
#include "tests/overload/paced_worker.h"

namespace baton::bench {
namespace {

struct Settings {
  int batch = 32;
  int step_ms = 10;
  int max_tokens = 38;
  int queue_requests = 16;
  int ahead_percent = 25;
  double urgent_share = 0.1;
  double seconds = 20;
  std::vector<double> loads = {0.7, 4.0};  // of the capacity
  std::string json;
};

// Registers the worker and reports its load as a real one does, until it goes.
class Reporter {
 public:
  Reporter(router::RouterCluster& cluster, PacedWorker& worker, const Settings& settings)
      : attachment_(cluster.grpc(), RegistrationOf(cluster, worker, settings)),
        thread_([this, &worker] {
          while (!stop_) {
            attachment_.ReportLoad(worker.CurrentLoad());
            absl::SleepFor(absl::Milliseconds(100));
          }
        }) {}
  ~Reporter() {
    stop_ = true;
    thread_.join();
  }

 private:
  static v1::Registration RegistrationOf(router::RouterCluster& cluster, PacedWorker& worker,
                                         const Settings& settings) {
    v1::Registration registration = cluster.RegistrationOf("decode-0", worker.address());
    registration.set_batch_sequences_max(settings.batch);
    return registration;
  }

  router::FakeAttachment attachment_;
  std::atomic<bool> stop_ = false;
  std::thread thread_;
};

nlohmann::json Measure(const Settings& settings, double load, double capacity) {
  config::RouterOptions options;
  options.queue.requests_max = settings.queue_requests;
  options.queue.batch_ahead_percent = settings.ahead_percent;
  router::RouterCluster cluster(options);
  PacedWorker worker({.batch = settings.batch,
                      .step = absl::Milliseconds(settings.step_ms),
                      .token = cluster.Tokens("a").front()});
  Reporter reporter(cluster, worker, settings);
  (void)cluster.WaitReady();
  const LoadResult result = Drive({.address = cluster.http(),
                                   .per_second = load * capacity,
                                   .duration = absl::Seconds(settings.seconds),
                                   .threads = 2 * (settings.batch + settings.queue_requests) + 32,
                                   .max_tokens = settings.max_tokens,
                                   .urgent_share = settings.urgent_share});
  const auto ms = [](const std::vector<absl::Duration>& times, double q) {
    return absl::ToDoubleMilliseconds(Quantile(times, q));
  };
  return {
      {"load", load},
      {"offered_per_second", load * capacity},
      {"served", result.total.size()},
      {"refused", result.refusal.size()},
      {"displaced", result.displaced.size()},
      {"failed", result.failed},
      {"without_retry_after", result.without_retry_after},
      {"refusal_ms", {{"p50", ms(result.refusal, 0.5)}, {"p99", ms(result.refusal, 0.99)}}},
      {"displaced_ms", {{"p50", ms(result.displaced, 0.5)}, {"p99", ms(result.displaced, 0.99)}}},
      {"urgent_ttft_ms",
       {{"p50", ms(result.urgent_ttft, 0.5)}, {"p99", ms(result.urgent_ttft, 0.99)}}},
      {"ttft_ms", {{"p50", ms(result.ttft, 0.5)}, {"p99", ms(result.ttft, 0.99)}}},
      {"total_ms", {{"p50", ms(result.total, 0.5)}, {"p99", ms(result.total, 0.99)}}},
      {"driver_late_ms", absl::ToDoubleMilliseconds(result.late_most)}};
}

void Print(const nlohmann::json& run) {
  const auto both = [&](const char* what) {
    return fmt::format("{:.1f} / {:.1f}", run[what]["p50"].get<double>(),
                       run[what]["p99"].get<double>());
  };
  fmt::print("load {:.1f}: {:.0f} offered/s, {} served, {} refused, {} displaced, {} failed\n",
             run["load"].get<double>(), run["offered_per_second"].get<double>(),
             run["served"].get<int>(), run["refused"].get<int>(), run["displaced"].get<int>(),
             run["failed"].get<int>());
  for (const char* what : {"refusal_ms", "displaced_ms", "urgent_ttft_ms", "ttft_ms", "total_ms"}) {
    fmt::print("  {:<16} {:>18}\n", what, both(what));
  }
  fmt::print("  {:<16} {:>18.1f}\n", "driver_late_ms", run["driver_late_ms"].get<double>());
}

int Main(int argc, char** argv) {
  Settings settings;
  CLI::App app("The router under more load than its worker can take.");
  app.add_option("--batch", settings.batch, "sequences in the worker's batch");
  app.add_option("--step-ms", settings.step_ms, "one step of the worker");
  app.add_option("--max-tokens", settings.max_tokens, "tokens of an answer");
  app.add_option("--queue", settings.queue_requests, "router.queue_requests_max");
  app.add_option("--ahead", settings.ahead_percent, "router.batch_ahead_percent");
  app.add_option("--urgent", settings.urgent_share, "share of requests with priority -1");
  app.add_option("--seconds", settings.seconds, "of load");
  app.add_option("--loads", settings.loads, "multiples of the worker's capacity");
  app.add_option("--json", settings.json, "write the figures here");
  CLI11_PARSE(app, argc, argv);
  // A sequence is on the worker for the steps of its prompt (2) and its tokens.
  const double capacity =
      settings.batch * 1000.0 / (settings.step_ms * (settings.max_tokens + 2.0));
  fmt::print("capacity {:.1f} requests/s; times: p50 / p99\n", capacity);
  nlohmann::json report = {{"capacity_per_second", capacity}, {"runs", nlohmann::json::array()}};
  for (const double load : settings.loads) {
    report["runs"].push_back(Measure(settings, load, capacity));
    Print(report["runs"].back());
  }
  if (!settings.json.empty()) std::ofstream(settings.json) << report.dump(2) << "\n";
  return 0;
}

}  // namespace
}  // namespace baton::bench

int main(int argc, char** argv) { return baton::bench::Main(argc, argv); }
