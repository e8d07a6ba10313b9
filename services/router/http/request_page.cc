#include "services/router/http/request_page.h"

#include <utility>

#include "services/router/http/decision_json.h"

namespace baton::router {
namespace {

using openai::Json;

constexpr size_t kRequestsShown = 256;

double Ms(absl::Duration time) { return router::Ms(absl::ToDoubleMilliseconds(time)); }

Json MeasuredJson(const v1::SequenceTimes& times) {
  Json failures = Json::array();
  for (const v1::HandoverFailure& failure : times.failures()) {
    failures.push_back({{"prefill_worker", failure.prefill_worker()},
                        {"code", failure.status_code()},
                        {"message", failure.message()}});
  }
  return Json{{"queued_ms", router::Ms(times.queued_ms())},
              {"prefill_ms", router::Ms(times.prefill_ms())},
              {"prefill_worker", times.prefill_worker()},
              {"prompt_tokens", times.prompt_tokens()},
              {"cached_tokens", times.cached_tokens()},
              {"kv_bytes", times.kv_bytes()},
              {"kv_exposed_ms", router::Ms(times.kv_exposed_ms())},
              {"preemptions", times.preemptions()},
              {"failures", std::move(failures)}};
}

Json PlacementJson(const FlightReport::Placement& placement) {
  const Candidate* chosen = ChosenOf(placement.decision);
  return Json{{"after_ms", Ms(placement.after)},
              {"decision", DecisionJson(placement.decision)},
              {"expected_ttft_ms", chosen ? Json(router::Ms(chosen->estimate.ttft_ms)) : Json()},
              {"measured", placement.measured ? MeasuredJson(*placement.measured) : Json()},
              {"turned_to", placement.turned_to()},
              {"left_because", placement.left_because}};
}

Json SummaryJson(const FlightReport& report) {
  Json json{{"request", report.request.value()},
            {"state", report.state},
            {"model", report.model},
            {"at", absl::FormatTime(absl::RFC3339_full, report.accepted_at, absl::UTCTimeZone())},
            {"tenant", report.tenant},
            {"prompt_tokens", report.prompt_tokens},
            {"completion_tokens", report.completion_tokens},
            {"router_queue_ms", report.queued ? Json(Ms(*report.queued)) : Json()},
            {"ttft_ms", report.ttft ? Json(Ms(*report.ttft)) : Json()},
            {"total_ms", Ms(report.total)},
            {"placements_total", report.placements_total}};
  if (report.trace) json["trace_id"] = telemetry::TraceIdText(report.trace->root.trace);
  if (!report.error.empty()) json["error"] = report.error;
  if (report.placements.empty()) return json;
  const Decision& last = report.placements.back().decision;
  json["decode"] = last.decode.value();
  json["prefill"] = last.prefill.empty() ? "" : last.prefill.front().value();
  json["reason"] = last.reason;
  return json;
}

}  // namespace

std::string DebugRequestsJson(const Dispatcher& dispatcher) {
  Json requests = Json::array();
  for (const FlightReport& report : dispatcher.Reports(kRequestsShown)) {
    requests.push_back(SummaryJson(report));
  }
  return openai::Dump(Json{{"requests", std::move(requests)}});
}

std::string DebugRequestJson(const FlightReport& report) {
  Json json = SummaryJson(report);
  json["placements"] = Json::array();
  for (const FlightReport::Placement& placement : report.placements) {
    json["placements"].push_back(PlacementJson(placement));
  }
  return openai::Dump(json);
}

}  // namespace baton::router
