// The parts of bench/router/compare.py that have to be quick:
//   load         streamed chats, so many at a time; prints JSON
//   upstream     an OpenAI API that answers at once, for proxies
//   burst-worker a worker that answers at once, for Baton's router

#include <CLI/CLI.hpp>
#include <cstdio>

#include "bench/router/burst_worker.h"
#include "bench/router/load.h"
#include "bench/router/upstream.h"
#include "nlohmann/json.hpp"

namespace baton::bench {
namespace {

double Ms(std::vector<absl::Duration> times, double quantile) {
  if (times.empty()) return 0;
  std::sort(times.begin(), times.end());
  return absl::ToDoubleMilliseconds(
      times[static_cast<size_t>(quantile * static_cast<double>(times.size() - 1))]);
}

int Load(const LoadOptions& options) {
  const LoadResult result = Run(options);
  const nlohmann::ordered_json json = {
      {"requests", result.total.size()},       {"seconds", result.seconds},
      {"ttft_ms_p50", Ms(result.ttft, 0.5)},   {"ttft_ms_p99", Ms(result.ttft, 0.99)},
      {"total_ms_p50", Ms(result.total, 0.5)}, {"failed", result.failed},
      {"first_failure", result.first_failure}};
  std::printf("%s\n", json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace).c_str());
  return result.failed == 0 ? 0 : 1;
}

int Main(int argc, char** argv) {
  CLI::App app("parts of bench/router/compare.py");
  app.require_subcommand(1);
  LoadOptions load;
  CLI::App* loading = app.add_subcommand("load", "streamed chats over HTTP");
  loading->add_option("--address", load.address, "host:port")->required();
  loading->add_option("--model", load.model, "name of the model to ask for");
  loading->add_option("--concurrency", load.concurrency, "requests under way at any time");
  loading->add_option("--requests", load.requests, "how many");
  loading->add_option("--prompt-bytes", load.prompt_bytes, "length of each prompt");
  loading->add_option("--shared-bytes", load.shared_bytes, "of each prompt: the same in all");
  loading->add_option("--token-ids", load.token_ids, "instead of text: so many tokens");
  loading->add_option("--max-tokens", load.max_tokens, "events with text in each answer");
  loading->add_option("--no-delay", load.no_delay, "TCP_NODELAY at the client");
  uint16_t port = 0;
  CLI::App* upstream = app.add_subcommand("upstream", "an OpenAI API that answers at once");
  upstream->add_option("--port", port, "on 127.0.0.1")->required();
  std::string router, model_dir = "models/baton-demo";
  CLI::App* worker = app.add_subcommand("burst-worker", "a decode worker that answers at once");
  worker->add_option("--router", router, "its gRPC address")->required();
  worker->add_option("--model", model_dir, "folder");
  CLI11_PARSE(app, argc, argv);
  if (*loading) return Load(load);
  if (*upstream) ServeUpstream(port);
  if (*worker) ServeBursts(router, model_dir);
  return 1;  // servers end by being killed
}

}  // namespace
}  // namespace baton::bench

int main(int argc, char** argv) { return baton::bench::Main(argc, argv); }
