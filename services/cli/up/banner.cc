#include "services/cli/up/banner.h"

#include <cstdio>

#include "absl/time/clock.h"
#include "baton/client.h"
#include "common/config/units.h"
#include "fmt/format.h"

namespace baton::cli {
namespace {

std::string Milliseconds(std::optional<double> seconds) {
  return seconds ? fmt::format("{:.1f} ms", *seconds * 1e3) : "-";
}

// Where a client on this machine dials.
std::string Dialled(config::Address address) {
  if (address.host == "0.0.0.0") address.host = "127.0.0.1";
  if (address.host == "::") address.host = "::1";
  return address.text();
}

}  // namespace

std::string Banner(const config::ClusterOptions& options, const config::Address& http,
                   const config::Address& grpc, const std::string& log_dir, absl::Duration took) {
  const std::string model = options.model.served_name();
  const bool tls = !options.router.http_tls_certificate.empty();
  const std::string base = (tls ? "https://" : "http://") + Dialled(http);
  return fmt::format(
      "\nBaton is ready after {:.1f} s: 1 router, {} prefill, {} decode, model '{}'.\n"
      "  OpenAI API  {}/v1\n"
      "  gRPC        {}\n"
      "  cluster     {}/debug/cluster\n"
      "  logs        {}\n"
      "\n"
      "  curl -N {}/v1/chat/completions -H 'Content-Type: application/json' \\\n"
      "    -d "
      "'{{\"model\":\"{}\",\"stream\":true,\"messages\":[{{\"role\":\"user\",\"content\":\"What is "
      "a KV cache?\"}}]}}'\n"
      "  baton chat --grpc {}\n",
      absl::ToDoubleSeconds(took), options.up.prefill, options.up.decode, model, base,
      Dialled(grpc), base, log_dir, base, model, Dialled(grpc));
}

std::string RouterFigures(const ClusterView& view) {
  return fmt::format("{} requests  TTFT p50 {}  ITL p50 {}", view.requests,
                     Milliseconds(view.ttft_p50_seconds), Milliseconds(view.itl_p50_seconds));
}

std::string WorkerFigures(const WorkerView& worker, bool prefill) {
  return fmt::format("KV {} {}  {} tokens in  {} out  {} running  {} waiting",
                     config::RoundedBytesText(worker.kv_bytes),
                     prefill ? "handed over" : "received", worker.prompt_tokens,
                     worker.output_tokens, worker.running, worker.waiting);
}

bool RunDemo(const std::string& grpc_address, const sdk::ClientOptions& door,
             const std::string& model, const std::string& question) {
  sdk::Client client(grpc_address, door);
  sdk::Request request{.model = model, .prompt = sdk::Chat{{"user", question}}};
  request.sampling.set_temperature(0);
  request.sampling.set_max_tokens(256);
  fmt::print("> {}\n\n", question);
  std::fflush(stdout);
  const auto answer = client.Complete(request, [](std::string_view text) {
    std::fwrite(text.data(), 1, text.size(), stdout);
    std::fflush(stdout);
  });
  if (!answer.ok()) {
    fmt::print(stderr, "\nbaton up: the demo request failed: {}\n", answer.error().message);
    return false;
  }
  const v1::Usage& usage = answer->usage;
  const std::string& prefill = answer->started.prefill_worker();
  fmt::print("\n\n  {} prompt tokens ({}), {} tokens out, TTFT {:.1f} ms, {:.1f} ms in all\n\n",
             usage.prompt_tokens(),
             prefill.empty() ? "prefilled locally" : "prefilled by " + prefill,
             usage.completion_tokens(), usage.ttft_ms(), usage.total_ms());
  std::fflush(stdout);
  return true;
}

}  // namespace baton::cli
