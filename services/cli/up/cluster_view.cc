#include "services/cli/up/cluster_view.h"

#include <unistd.h>

#include "common/http/http_call.h"
#include "common/telemetry/metrics_text.h"
#include "nlohmann/json.hpp"

namespace baton::cli {
namespace {

using nlohmann::json;

constexpr absl::Duration kPatience = absl::Seconds(1);

// The number `key` of an object, or 0.
int64_t NumberAt(const json& object, const char* key) {
  auto it = object.find(key);
  return it != object.end() && it->is_number() ? it->get<int64_t>() : 0;
}

WorkerView ReadWorker(const json& load) {
  return {.running = static_cast<int>(NumberAt(load, "running")),
          .waiting = static_cast<int>(NumberAt(load, "waiting")),
          .prompt_tokens = NumberAt(load, "prompt_tokens"),
          .cached_tokens = NumberAt(load, "cached_tokens"),
          .output_tokens = NumberAt(load, "output_tokens"),
          .kv_bytes = NumberAt(load, "kv_bytes"),
          .blocks_total = static_cast<int>(NumberAt(load, "blocks_total")),
          .blocks_active = static_cast<int>(NumberAt(load, "blocks_active"))};
}

ClusterView Look(const http::Door& http) {
  ClusterView view;
  const auto ready = http::Get(http, "/health/ready", kPatience);
  view.live = ready.ok();
  view.ready = ready.ok() && ready->status == 200;
  if (!view.live) return view;
  const auto debug = http::Get(http, "/debug/cluster", kPatience);
  if (debug.ok() && debug->status == 200) ReadDebugPage(debug->body, view);
  const auto metrics = http::Get(http, "/metrics", kPatience);
  if (metrics.ok() && metrics->status == 200) ReadMetricsPage(metrics->body, view);
  return view;
}

}  // namespace

void ReadDebugPage(std::string_view text, ClusterView& view) {
  const json page = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!page.is_object()) return;
  auto workers = page.find("workers");
  if (workers == page.end() || !workers->is_array()) return;
  for (const json& worker : *workers) {
    if (!worker.is_object() || !worker.contains("id") || !worker["id"].is_string()) continue;
    const std::string id = worker["id"];
    auto load = worker.find("load");
    const bool has_load = load != worker.end() && load->is_object();
    WorkerView& seen = view.workers[id.substr(0, id.find('@'))];
    if (has_load) seen = ReadWorker(*load);
    const auto reachable = worker.find("reachable");
    seen.reachable = reachable != worker.end() && *reachable == true;
  }
}

void ReadMetricsPage(std::string_view text, ClusterView& view) {
  const telemetry::MetricsText page(text);
  view.requests = static_cast<int64_t>(page.Sum("baton_requests_total"));
  view.ttft_p50_seconds = page.Quantile("baton_request_ttft_seconds", 0.5);
  view.itl_p50_seconds = page.Quantile("baton_request_itl_seconds", 0.5);
}

ClusterWatch::ClusterWatch(int wake_fd) : wake_fd_(wake_fd), thread_([this] { Run(); }) {}

ClusterWatch::~ClusterWatch() {
  {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
  }
  thread_.join();
}

void ClusterWatch::Watch(const http::Door& http, absl::Duration pause) {
  absl::MutexLock lock(&mutex_);
  http_ = http;
  pause_ = pause;
  if (http.address.empty()) view_ = {};
}

ClusterView ClusterWatch::view() const {
  absl::MutexLock lock(&mutex_);
  return view_;
}

void ClusterWatch::Run() {
  for (;;) {
    http::Door http;
    {
      absl::MutexLock lock(&mutex_);
      mutex_.AwaitWithTimeout(absl::Condition(&stopping_), pause_);
      if (stopping_) return;
      http = http_;
    }
    if (http.address.empty()) continue;
    ClusterView view = Look(http);
    {
      absl::MutexLock lock(&mutex_);
      if (http_.address.empty()) continue;
      view_ = std::move(view);
    }
    const uint64_t one = 1;
    [[maybe_unused]] const ssize_t written = write(wake_fd_, &one, sizeof one);
  }
}

}  // namespace baton::cli
