#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "baton/v1/cluster.pb.h"
#include "common/base/status.h"
#include "common/engine/engine.h"
#include "common/telemetry/metrics.h"

namespace baton::worker {

// What a worker knows about KV hand-overs; the service reads it from its sender or receiver.
struct HandoverCounters {
  uint64_t bytes = 0;
  double seconds = 0;
  uint64_t completed = 0;
  uint64_t failed = 0;
  uint64_t checksum_mismatches = 0;
};

// What the routers are told ten times a second.
v1::Load ReportOf(const engine::LoadReport& load, const HandoverCounters& handovers);

// A worker's Prometheus page: the engine's load and the hand-over's counters, read when it is
// scraped.
class WorkerMetrics {
 public:
  // `role` and `model` become labels of every figure. `address` empty: no page, and nothing is
  // done. `engine` and what `handovers` reads outlive it.
  static absl::StatusOr<std::unique_ptr<WorkerMetrics>> Listen(
      const std::string& address, const std::string& role, const std::string& model,
      const engine::Engine& engine, std::function<HandoverCounters()> handovers);

  // host:port really bound; empty without a page.
  const std::string& address() const { return address_; }

 private:
  WorkerMetrics(const std::string& role, const std::string& model, const engine::Engine& engine,
                std::function<HandoverCounters()> handovers);
  void MirrorLoad(const engine::Engine& engine);
  void MirrorSteps(const engine::Engine& engine);
  void MirrorHandovers(std::function<HandoverCounters()> handovers);

  telemetry::Metrics metrics_;
  std::unique_ptr<telemetry::MetricsPage> page_;
  std::string address_;
};

}  // namespace baton::worker
