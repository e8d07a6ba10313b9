#include "services/router/telemetry/router_metrics.h"

namespace baton::router {

using telemetry::TtftBuckets;

RouterMetrics::RouterMetrics()
    : inflight_(metrics_.AddGauge("baton_requests_inflight", "Requests accepted and not ended")),
      connections_(metrics_.AddGauge("baton_http_connections", "Open HTTP connections")),
      index_blocks_(
          metrics_.AddGauge("baton_kv_index_blocks", "Blocks in the KV index, over all workers")),
      waiting_(metrics_.AddGauge("baton_queue_sequences",
                                 "Sequences waiting on the workers, as last reported")),
      resubmitted_(metrics_.AddCounter("baton_requests_resubmitted_total",
                                       "Times a request lost its decode worker and was given "
                                       "to another")),
      migrated_(metrics_.AddCounter("baton_requests_migrated_total",
                                    "Times a request was moved off a draining decode worker")),
      ejected_(metrics_.AddCounter("baton_worker_ejections_total",
                                   "Times a worker that failed was given no work for a while")) {
  // A counter that appears with its first event has no rise that rate() could see.
  for (const char* came : {"later", "earlier"}) TtftError(came);
  for (const char* to : {"local", "remote"}) TurnedTo(to);
}

ModelMetrics& RouterMetrics::Of(const std::string& model) {
  absl::MutexLock lock(&mutex_);
  return models_.try_emplace(model, metrics_, model).first->second;
}

void RouterMetrics::TtftPredicted(absl::Duration expected, absl::Duration actual) {
  const absl::Duration error = actual - expected;
  TtftError(error >= absl::ZeroDuration() ? "later" : "earlier")
      .Observe(absl::ToDoubleSeconds(absl::AbsDuration(error)));
}

telemetry::Histogram& RouterMetrics::TtftError(std::string_view came) {
  return metrics_.AddHistogram(
      "baton_placement_ttft_error_seconds",
      "By how much the first token came later or earlier than the placement expected",
      TtftBuckets(), {{"came", std::string(came)}});
}

void RouterMetrics::Placed(std::string_view reason) { Decisions(reason).Increment(); }

void RouterMetrics::MayBePlaced(std::string_view reason) { Decisions(reason); }

telemetry::Counter& RouterMetrics::Decisions(std::string_view reason) {
  return metrics_.AddCounter("baton_placement_decisions_total", "Placements by reason",
                             {{"reason", std::string(reason)}});
}

void RouterMetrics::Turned(std::string_view to) { TurnedTo(to).Increment(); }

telemetry::Counter& RouterMetrics::TurnedTo(std::string_view to) {
  return metrics_.AddCounter(
      "baton_placement_turned_total",
      "Prefills that the decode worker had computed otherwise than they were placed, by where to",
      {{"to", std::string(to)}});
}

void RouterMetrics::HttpAnswered(std::string_view route, int status) {
  metrics_
      .AddCounter("baton_http_responses_total", "HTTP answers by route and status",
                  {{"route", std::string(route)}, {"status", std::to_string(status)}})
      .Increment();
}

void RouterMetrics::Workers(std::string_view role, std::string_view state, int count) {
  metrics_
      .AddGauge("baton_workers", "Attached workers by role and state",
                {{"role", std::string(role)}, {"state", std::string(state)}})
      .Set(count);
}

}  // namespace baton::router
