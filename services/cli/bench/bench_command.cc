#include "services/cli/bench/bench_command.h"

#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <fstream>
#include <iterator>

#include "absl/time/clock.h"
#include "baton/client.h"
#include "common/config/command_line.h"
#include "common/http/http_call.h"
#include "services/cli/bench/bench_options.h"
#include "services/cli/bench/bench_report.h"
#include "services/cli/bench/load_driver.h"
#include "services/cli/interrupt.h"

namespace baton::cli {
namespace {

using nlohmann::json;

absl::Status ToStatus(const sdk::Error& error) {
  return Unavailable("{}: {}", NameOf(error.code), error.message);
}

// The model to load: the named one, or the only one.
absl::StatusOr<v1::ModelCard> FindModel(sdk::Client& client, const std::string& name) {
  const auto models = client.ListModels();
  if (!models.ok()) return ToStatus(models.error());
  for (const v1::ModelCard& model : *models) {
    if (model.id() == name || (name.empty() && models->size() == 1)) return model;
  }
  return NotFound("--model '{}' is not one of the {} that are served", name, models->size());
}

absl::StatusOr<std::vector<int32_t>> ReadCorpus(const BenchOptions& options, sdk::Client& client) {
  if (options.corpus.empty()) return std::vector<int32_t>{};
  std::ifstream file(options.corpus, std::ios::binary);
  if (!file) return NotFound("--corpus {}: cannot be opened", options.corpus);
  const std::string text(std::istreambuf_iterator<char>(file), {});
  auto ids = client.Tokenize(text, options.client.model, /*add_special_tokens=*/false);
  if (!ids.ok()) return Annotate(ToStatus(ids.error()), "--corpus");
  if (ids->empty()) return InvalidArgument("--corpus {}: has no tokens", options.corpus);
  return std::move(*ids);
}

// Tells the options how many requests it has.
absl::StatusOr<std::vector<TraceRequest>> ReadTraceFor(BenchOptions& options,
                                                       const Workload::Limits& limits) {
  if (options.trace.empty()) return std::vector<TraceRequest>{};
  auto trace = ReadTrace(options.trace);
  if (!trace.ok()) return Annotate(trace.status(), "--trace");
  if (options.requests > 0) trace->resize(std::min<size_t>(options.requests, trace->size()));
  options.requests = static_cast<int32_t>(trace->size());
  RETURN_IF_ERROR(Workload::FitsLimits(*trace, limits));
  return trace;
}

// Bytes handed over so far, and seconds with a transfer under way, over all prefill workers.
struct KvTotals {
  double bytes = 0, seconds = 0;
};

KvTotals ReadKvTotals(const http::Door& http) {
  KvTotals totals;
  if (http.address.empty()) return totals;
  const auto reply = http::Get(http, "/debug/cluster", absl::Seconds(2));
  if (!reply.ok() || reply->status != 200) return totals;
  const json page = json::parse(reply->body, nullptr, /*allow_exceptions=*/false);
  if (!page.is_object() || !page.contains("workers") || !page["workers"].is_array()) return totals;
  for (const json& worker : page["workers"]) {
    if (!worker.is_object() || worker.value("role", "") != "prefill") continue;
    const json load = worker.value("load", json::object());
    totals.bytes += load.value("kv_bytes", 0.0);
    totals.seconds += load.value("kv_busy_seconds", 0.0);
  }
  return totals;
}

std::string CpuName() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("model name")) return line.substr(line.find(':') + 2);
  }
  return "unknown";
}

json Circumstances(const BenchOptions& options, const v1::ModelCard& model, int argc,
                   const char* const* argv) {
  std::string command = "baton";
  for (int i = 0; i < argc; ++i) {
    const bool key = i > 0 && std::string_view(argv[i - 1]) == "--api-key";
    const bool with_key = std::string_view(argv[i]).starts_with("--api-key=");
    command += std::string(" ") + (key ? "…" : with_key ? "--api-key=…" : argv[i]);
  }
  return {{"at", absl::FormatTime(absl::RFC3339_sec, absl::Now(), absl::UTCTimeZone())},
          {"command", command},
          {"machine", {{"cpu", CpuName()}, {"cores", sysconf(_SC_NPROCESSORS_ONLN)}}},
          {"model", model.id()},
          {"note", options.note}};
}

absl::Status WriteFile(const std::string& text, const char* flag, const std::string& path) {
  std::ofstream file(path);
  file << text;
  file.close();
  return file ? absl::OkStatus() : InvalidArgument("{} {}: cannot be written", flag, path);
}

absl::Status WriteJson(const json& figures, const std::string& path) {
  if (path == "-") {
    fmt::print("{}\n", figures.dump(2));
    return absl::OkStatus();
  }
  return WriteFile(figures.dump(2) + "\n", "--json", path);
}

void ShowProgress(int sent, int ended) {
  if (isatty(STDERR_FILENO) == 1) fmt::print(stderr, "\r{} sent, {} ended ", sent, ended);
}

absl::StatusOr<int> Run(BenchOptions& options, Interrupt& interrupt, int argc,
                        const char* const* argv) {
  RETURN_IF_ERROR(options.Validate());
  // What fails is a result here, not something to try again.
  ASSIGN_OR_RETURN(const sdk::ClientOptions door, options.client.door.Grpc({.attempts = 1}));
  sdk::Client client(options.client.grpc.text(), door);
  ASSIGN_OR_RETURN(const v1::ModelCard model, FindModel(client, options.client.model));
  options.client.model = model.id();
  ASSIGN_OR_RETURN(std::vector<int32_t> corpus, ReadCorpus(options, client));
  const Workload::Limits limits{model.vocab_size(), model.context_tokens_max()};
  ASSIGN_OR_RETURN(std::vector<TraceRequest> trace, ReadTraceFor(options, limits));
  Workload workload(options, limits, std::move(corpus), std::move(trace));
  std::atomic<bool> stop{false};
  Interrupt::Scope on_interrupt(interrupt, [&stop] { stop = true; });
  const KvTotals before = ReadKvTotals(options.client.door.Http(options.http));
  const LoadResult result =
      RunLoad(options, client, workload, ShowProgress, [&stop] { return stop.load(); });
  // Workers report what they sent with their next heartbeat.
  if (!options.http.empty()) absl::SleepFor(absl::Milliseconds(500));
  const KvTotals after = ReadKvTotals(options.client.door.Http(options.http));
  if (isatty(STDERR_FILENO) == 1) fmt::print(stderr, "\r\x1b[K");
  const BenchReport report = MakeReport(result, options);
  const double kv_bytes = after.bytes - before.bytes, kv_seconds = after.seconds - before.seconds;
  if (options.json != "-") {
    fmt::print("{}", TableOf(report, options));
    if (kv_bytes > 0) {
      fmt::print("  {:<28} {:>9.3f} GB, {:.2f} GB/s while under way\n", "KV handed over",
                 kv_bytes / 1e9, kv_bytes / 1e9 / std::max(kv_seconds, 1e-9));
    }
  }
  if (!options.each.empty()) RETURN_IF_ERROR(WriteFile(LinesOf(result), "--each", options.each));
  if (!options.json.empty()) {
    json figures = Circumstances(options, model, argc, argv);
    figures.update(JsonOf(report, options));
    figures["kv_transfer"] = {{"bytes", kv_bytes}, {"busy_seconds", kv_seconds}};
    RETURN_IF_ERROR(WriteJson(figures, options.json));
  }
  return report.completed > 0 ? 0 : 1;
}

}  // namespace

int BenchCommand(int argc, const char* const* argv) {
  Interrupt interrupt;
  BenchOptions options;
  config::OptionSet client("client", "Cluster"), load("bench", "Load"), report("report", "Report");
  options.AddTo(client, load, report);
  const config::Program program{
      .name = "baton bench",
      .about =
          "Measures a cluster under load: open loop with Poisson arrivals (--rate) or as recorded "
          "(--trace), or closed loop.",
      .examples =
          "  baton bench --rate 20 --duration 60s --prompt-tokens lognormal:300,0.7 "
          "--output-tokens 64\n"
          "  baton bench --concurrency 8 --requests 200 --prompt-tokens 512 --output-tokens 128\n"
          "  baton bench --rate 5 --shared-prefix-share 0.8 --shared-prefix-tokens 256 --slo-ttft "
          "200ms "
          "--slo-itl 30ms --json figures.json\n"
          "  baton bench --trace recorded.jsonl --trace-speed 2 --each requests.jsonl\n"};
  if (auto exit = config::ParseCommandLine(program, argc, argv, config::ProcessEnvironment(),
                                           {&client, &load, &report})) {
    return config::Leave(*exit);
  }
  const absl::StatusOr<int> code = Run(options, interrupt, argc, argv);
  if (code.ok()) return *code;
  fmt::print(stderr, "baton bench: {}\n", MessageOf(code.status()));
  return absl::IsInvalidArgument(code.status()) ? config::kExitUsage : 1;
}

}  // namespace baton::cli
