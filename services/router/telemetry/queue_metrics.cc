#include "services/router/telemetry/queue_metrics.h"

namespace baton::router {
namespace {

const std::vector<std::string>& UrgencyNames() {
  static const std::vector<std::string> names = {"urgent", "normal", "background"};
  return names;
}

}  // namespace

QueueMetrics::QueueMetrics(telemetry::Metrics& metrics, const std::vector<std::string>& tenants)
    : metrics_(metrics) {
  for (const std::string& tenant : tenants) {
    OfTenant& one = tenants_.emplace_back();
    for (const std::string& urgency : UrgencyNames()) {
      one.waiting.push_back(&metrics.AddGauge("baton_router_queue_requests",
                                              "Requests waiting in the router",
                                              {{"tenant", tenant}, {"urgency", urgency}}));
    }
    const auto tokens = [&](const char* kind) {
      return &metrics.AddCounter("baton_tenant_tokens_total",
                                 "Tokens served: prompt tokens computed, output tokens generated",
                                 {{"tenant", tenant}, {"kind", kind}});
    };
    one.prompt_tokens = tokens("prompt");
    one.output_tokens = tokens("output");
  }
  for (const std::string& urgency : UrgencyNames()) {
    waits_.push_back(&metrics.AddHistogram("baton_router_queue_wait_seconds",
                                           "Time in the router's queue, of requests that waited",
                                           telemetry::TtftBuckets(), {{"urgency", urgency}}));
  }
}

void QueueMetrics::Waiting(Urgency urgency, size_t tenant, size_t requests) {
  tenants_[tenant].waiting[static_cast<size_t>(urgency)]->Set(static_cast<double>(requests));
}

void QueueMetrics::Waited(Urgency urgency, absl::Duration wait) {
  waits_[static_cast<size_t>(urgency)]->Observe(absl::ToDoubleSeconds(wait));
}

telemetry::Counter& QueueMetrics::TurnedAwayFor(const std::string& reason) {
  return metrics_.AddCounter("baton_router_turned_away_total",
                             "Requests that were refused a place in the router's queue or lost it",
                             {{"reason", reason}});
}

void QueueMetrics::Tokens(size_t tenant, int64_t prompt_tokens, int64_t output_tokens) {
  telemetry::RaiseTo(*tenants_[tenant].prompt_tokens, static_cast<double>(prompt_tokens));
  telemetry::RaiseTo(*tenants_[tenant].output_tokens, static_cast<double>(output_tokens));
}

}  // namespace baton::router
