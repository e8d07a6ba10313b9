#include "bench/simulation/cluster_page.h"

#include "nlohmann/json.hpp"

namespace baton::simulation {
namespace {

using nlohmann::json;

constexpr int64_t kSamplesMin = 8;

// The number under `key`; none: says so in `missing`.
double Number(const json& object, const char* key, std::string& missing) {
  if (object.contains(key) && object[key].is_number()) return object[key].get<double>();
  missing = key;
  return 0;
}

std::string Text(const json& object, const char* key) {
  return object.contains(key) && object[key].is_string() ? object[key].get<std::string>() : "";
}

json Object(const json& object, const char* key) {
  return object.contains(key) && object[key].is_object() ? object[key] : json::object();
}

absl::StatusOr<WorkerSpec> WorkerOf(const json& worker) {
  if (!worker.is_object()) return InvalidArgument("a worker is no JSON object");
  const json load = Object(worker, "load");
  const json fit = Object(load, "fit");
  std::string missing;
  WorkerSpec spec{.id = Text(worker, "id"), .decode = Text(worker, "role") == "decode"};
  spec.batch_max = static_cast<int32_t>(Number(worker, "batch_sequences_max", missing));
  spec.step_tokens_max = static_cast<int32_t>(Number(worker, "step_tokens_max", missing));
  spec.block_tokens = static_cast<int32_t>(Number(worker, "block_tokens", missing));
  spec.num_blocks = static_cast<int32_t>(Number(worker, "num_blocks", missing));
  if (spec.decode) {
    spec.context_tokens_max = static_cast<int32_t>(Number(worker, "context_tokens_max", missing));
  }
  spec.kv_bytes_per_token = static_cast<int64_t>(Number(worker, "kv_bytes_per_token", missing));
  spec.fit = {.base_ms = Number(fit, "base_ms", missing),
              .per_prefill_token_ms = Number(fit, "per_prefill_token_ms", missing),
              .per_decode_ms = Number(fit, "per_decode_ms", missing),
              .per_context_token_ms = Number(fit, "per_context_token_ms", missing),
              .residual_ms = Number(fit, "residual_ms", missing),
              .samples = static_cast<int64_t>(Number(fit, "samples", missing))};
  const double kv_ms = 1e3 * Number(load, "kv_busy_seconds", missing);
  if (kv_ms > 0) spec.link_bytes_per_ms = Number(load, "kv_bytes", missing) / kv_ms;
  if (spec.id.empty()) missing = "id";
  if (!missing.empty()) return InvalidArgument("worker '{}' has no {}", spec.id, missing);
  if (spec.fit.samples < kSamplesMin) {
    return InvalidArgument("worker '{}' has measured {} steps, {} are needed", spec.id,
                           spec.fit.samples, kSamplesMin);
  }
  return spec;
}

}  // namespace

absl::StatusOr<std::vector<WorkerSpec>> WorkersOfPage(const std::string& text) {
  const json page = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!page.is_object() || !page.contains("workers") || !page["workers"].is_array()) {
    return InvalidArgument("is no /debug/cluster page: it has no workers");
  }
  std::vector<WorkerSpec> workers;
  for (const json& worker : page["workers"]) {
    ASSIGN_OR_RETURN(workers.emplace_back(), WorkerOf(worker));
  }
  return workers;
}

}  // namespace baton::simulation
