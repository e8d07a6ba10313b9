#pragma once

#include <map>
#include <string>

#include "common/telemetry/metrics.h"
#include "services/planner/doors/plan_board.h"

namespace baton::planner {

// The planner's figures, for an HPA, KEDA's prometheus scaler and dashboards. Thread-safe.
class PlannerMetrics {
 public:
  explicit PlannerMetrics(bool dry_run);

  void Note(const Standing& standing);
  // None of the routers answered.
  void NoteSilence(int routers_failed);
  // Prometheus text format.
  std::string Render() const { return metrics_.Text(); }

 private:
  struct OfPool {
    OfPool(telemetry::Metrics& metrics, Pool pool);
    void Note(const PoolPlan& plan, const PoolState& state);

    telemetry::Gauge &desired, &needed, &present;
    telemetry::Counter &up, &down;
    std::map<std::string, telemetry::Gauge*, std::less<>> reasons;
    int32_t last = -1;  // under no lock: the planner's own thread
  };
  telemetry::Metrics metrics_;
  OfPool prefill_, decode_;
  telemetry::Gauge &requests_, &prompt_, &cached_, &output_, &queued_, &pace_;
  telemetry::Gauge &answered_, &failed_, &planned_at_;
};

}  // namespace baton::planner
