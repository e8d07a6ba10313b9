#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "common/telemetry/metrics.h"

namespace baton::router {

// Priorities in three, so that a metric's labels stay few: below, at and above 0.
enum class Urgency : uint8_t { kUrgent, kNormal, kBackground };

constexpr Urgency UrgencyOf(int32_t priority) {
  if (priority == 0) return Urgency::kNormal;
  return priority < 0 ? Urgency::kUrgent : Urgency::kBackground;
}

// The figures of the router's queue. Thread-safe.
class QueueMetrics {
 public:
  // Tenants by index from here on.
  QueueMetrics(telemetry::Metrics& metrics, const std::vector<std::string>& tenants);

  void Waiting(Urgency urgency, size_t tenant, size_t requests);
  // One has begun after so long in the queue.
  void Waited(Urgency urgency, absl::Duration wait);
  void TurnedAway(const std::string& reason) { TurnedAwayFor(reason).Increment(); }
  // A reason that it may have: shown as 0 until one has it, so that its first is a rise.
  void MayTurnAway(const std::string& reason) { TurnedAwayFor(reason); }
  // Tokens served, in all.
  void Tokens(size_t tenant, int64_t prompt_tokens, int64_t output_tokens);

 private:
  struct OfTenant {
    std::vector<telemetry::Gauge*> waiting;  // by urgency
    telemetry::Counter* prompt_tokens = nullptr;
    telemetry::Counter* output_tokens = nullptr;
  };
  telemetry::Counter& TurnedAwayFor(const std::string& reason);

  telemetry::Metrics& metrics_;
  std::vector<OfTenant> tenants_;
  std::vector<telemetry::Histogram*> waits_;  // by urgency
};

}  // namespace baton::router
