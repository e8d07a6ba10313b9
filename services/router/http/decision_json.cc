#include "services/router/http/decision_json.h"

#include <cmath>

namespace baton::router {

using openai::Json;

double Ms(double value) { return std::round(value * 1e3) / 1e3; }

namespace {

Json CandidateJson(const Candidate& candidate) {
  const Estimate& estimate = candidate.estimate;
  return Json{{"decode", candidate.decode.value()},
              {"prefill", candidate.prefill.value()},
              {"cached_tokens_decode", candidate.cached_tokens_decode},
              {"cached_tokens_prefill", candidate.cached_tokens_prefill},
              {"queue_ms", Ms(estimate.queue_ms)},
              {"prefill_ms", Ms(estimate.prefill_ms)},
              {"transfer_ms", Ms(estimate.transfer_ms)},
              {"decode_ms", Ms(estimate.decode_ms)},
              {"harm_ms", Ms(estimate.harm_ms)},
              {"crowding_ms", Ms(estimate.crowding_ms)},
              {"ttft_ms", Ms(estimate.ttft_ms)},
              {"total_ms", Ms(estimate.total_ms)}};
}

}  // namespace

Json DecisionJson(const Decision& decision) {
  Json prefill = Json::array();
  for (const WorkerId& id : decision.prefill) prefill.push_back(id.value());
  Json spare = Json::array();
  for (const WorkerId& id : decision.spare) spare.push_back(id.value());
  Json candidates = Json::array();
  for (const Candidate& candidate : decision.candidates) {
    candidates.push_back(CandidateJson(candidate));
  }
  return Json{
      {"request", decision.request.id.value()},
      {"at", absl::FormatTime(absl::RFC3339_full, decision.at, absl::UTCTimeZone())},
      {"policy", decision.policy},
      {"reason", decision.reason},
      {"decode", decision.decode.value()},
      {"prefill", std::move(prefill)},
      {"spare_prefill", std::move(spare)},
      {"local_wait_max_ms", decision.spare.empty()
                                ? Json()
                                : Json(Ms(absl::ToDoubleMilliseconds(decision.local_wait_max)))},
      {"prompt_tokens", decision.request.prompt_tokens},
      {"max_tokens", decision.request.max_tokens},
      {"choices", decision.request.choices},
      {"priority", decision.request.priority},
      {"candidates", std::move(candidates)}};
}

}  // namespace baton::router
