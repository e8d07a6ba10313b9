#include "services/planner/watch/router_page.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "common/telemetry/metrics_text.h"
#include "nlohmann/json.hpp"

namespace baton::planner {
namespace {

using nlohmann::json;

// Beyond it nothing is believed; a double counts as far exactly.
constexpr double kNumberMax = 9e15;

const json& At(const json& object, const char* key) {
  static const json nothing = json::object();
  if (!object.is_object()) return nothing;
  const auto found = object.find(key);
  return found == object.end() ? nothing : *found;
}

double NumberAt(const json& object, const char* key, double max = kNumberMax) {
  const json& value = At(object, key);
  if (!value.is_number()) return 0;
  const double number = value.get<double>();
  return std::isfinite(number) ? std::clamp(number, 0.0, max) : 0;
}

int32_t CountAt(const json& object, const char* key) {
  return static_cast<int32_t>(NumberAt(object, key, 1e9));
}

bool TrueAt(const json& object, const char* key) {
  const json& value = At(object, key);
  return value.is_boolean() && value.get<bool>();
}

std::string TextAt(const json& object, const char* key) {
  const json& value = At(object, key);
  return value.is_string() ? value.get<std::string>() : "";
}

std::optional<WorkerSample> ReadWorker(const json& worker) {
  const std::string id = TextAt(worker, "id");
  const std::string role = TextAt(worker, "role");
  if (id.empty() || (role != "prefill" && role != "decode")) return std::nullopt;
  const json& load = At(worker, "load");
  const json& fit = At(load, "fit");
  const bool draining = TrueAt(worker, "draining");
  return WorkerSample{.id = id,
                      .pool = role == "prefill" ? Pool::kPrefill : Pool::kDecode,
                      .ready = TrueAt(worker, "reachable") && !draining &&
                               !TrueAt(worker, "suspect") && !TrueAt(worker, "ejected"),
                      .draining = draining,
                      .report_age_ms = NumberAt(worker, "report_age_ms"),
                      .fit = {.base_ms = NumberAt(fit, "base_ms"),
                              .per_prefill_token_ms = NumberAt(fit, "per_prefill_token_ms"),
                              .per_decode_ms = NumberAt(fit, "per_decode_ms"),
                              .per_context_token_ms = NumberAt(fit, "per_context_token_ms"),
                              .samples = static_cast<int64_t>(NumberAt(fit, "samples"))},
                      .waiting_tokens = static_cast<int64_t>(NumberAt(load, "waiting_tokens")),
                      .running = CountAt(load, "running"),
                      .waiting = CountAt(load, "waiting"),
                      .blocks_active = static_cast<int64_t>(NumberAt(load, "blocks_active")),
                      .blocks = CountAt(worker, "num_blocks"),
                      .block_tokens = CountAt(worker, "block_tokens"),
                      .batch_sequences_max = CountAt(worker, "batch_sequences_max"),
                      .step_tokens_max = CountAt(worker, "step_tokens_max"),
                      .computed_tokens = NumberAt(load, "prompt_tokens"),
                      .cached_tokens = NumberAt(load, "cached_tokens")};
}

void ReadMetrics(std::string_view text, std::string_view model, RouterSample& sample) {
  const telemetry::MetricsText metrics(text);
  const auto sum = [&](const char* name) {
    const double value = model.empty() ? metrics.Sum(name) : metrics.Sum(name, "model", model);
    return std::isfinite(value) ? std::max(value, 0.0) : 0;
  };
  sample.accepted = sum("baton_requests_accepted_total");
  sample.accepted_prompt_tokens = sum("baton_accepted_prompt_tokens_total");
  sample.completed = sum("baton_request_duration_seconds_count");
  sample.prompt_tokens = sum("baton_prompt_tokens_total");
  sample.cached_tokens = sum("baton_prompt_cached_tokens_total");
  sample.completion_tokens = sum("baton_completion_tokens_total");
  sample.without_worker = sum("baton_requests_without_worker_total");
  sample.itl_seconds = sum("baton_request_itl_seconds_sum");
  sample.itl_tokens = sum("baton_request_itl_seconds_count");
}

void ReadQueue(const json& queue, std::string_view model, RouterSample& sample) {
  const auto add = [&sample](const json& from) {
    sample.queued_requests += static_cast<int64_t>(NumberAt(from, "waiting"));
    sample.queued_tokens += static_cast<int64_t>(NumberAt(from, "waiting_tokens"));
  };
  if (model.empty()) return add(queue);
  for (const json& line : At(queue, "lines")) {
    if (TextAt(line, "model") == model) add(line);
  }
}

}  // namespace

absl::StatusOr<RouterSample> ReadRouter(std::string_view cluster_page,
                                        std::string_view metrics_page, std::string_view model) {
  const json page = json::parse(cluster_page, nullptr, /*allow_exceptions=*/false);
  const json& workers = At(page, "workers");
  if (!workers.is_array()) return InvalidArgument("/debug/cluster has no list of workers");
  RouterSample sample;
  for (const json& worker : workers) {
    if (!model.empty() && TextAt(worker, "model") != model) continue;
    if (auto read = ReadWorker(worker)) sample.workers.push_back(*std::move(read));
  }
  ReadQueue(At(page, "queue"), model, sample);
  ReadMetrics(metrics_page, model, sample);
  return sample;
}

}  // namespace baton::planner
