#include "services/planner/doors/planner_metrics.h"

namespace baton::planner {
namespace {

// Every word that PoolPlan::reason() may say.
std::vector<std::string_view> Reasons() {
  std::vector<std::string_view> reasons;
  for (const Cause cause :
       {Cause::kNothing, Cause::kWake, Cause::kArrivals, Cause::kQueue, Cause::kItl, Cause::kKv}) {
    reasons.push_back(NameOf(cause));
  }
  for (const Holder holder :
       {Holder::kMin, Holder::kMax, Holder::kBudget, Holder::kCoolDown, Holder::kPartial}) {
    reasons.push_back(NameOf(holder));
  }
  return reasons;
}

}  // namespace

PlannerMetrics::OfPool::OfPool(telemetry::Metrics& metrics, Pool pool)
    : desired(metrics.AddGauge("baton_planner_desired_replicas",
                               "Workers there should be, within bounds and budget",
                               {{"pool", std::string(NameOf(pool))}})),
      needed(metrics.AddGauge("baton_planner_needed_replicas",
                              "Workers that the load needs, before bounds, budget and cool-downs",
                              {{"pool", std::string(NameOf(pool))}})),
      present(metrics.AddGauge("baton_planner_present_replicas",
                               "Workers that routers know of, without those that leave",
                               {{"pool", std::string(NameOf(pool))}})),
      up(metrics.AddCounter("baton_planner_changes_total", "Changed plans by direction",
                            {{"pool", std::string(NameOf(pool))}, {"direction", "up"}})),
      down(metrics.AddCounter("baton_planner_changes_total", "Changed plans by direction",
                              {{"pool", std::string(NameOf(pool))}, {"direction", "down"}})) {
  for (const std::string_view reason : Reasons()) {
    reasons[std::string(reason)] =
        &metrics.AddGauge("baton_planner_reason", "1 for what decides the pool's size now",
                          {{"pool", std::string(NameOf(pool))}, {"reason", std::string(reason)}});
  }
}

void PlannerMetrics::OfPool::Note(const PoolPlan& plan, const PoolState& state) {
  desired.Set(plan.desired);
  needed.Set(plan.need.workers);
  present.Set(state.present);
  for (const auto& [reason, gauge] : reasons) gauge->Set(reason == plan.reason() ? 1 : 0);
  if (last >= 0 && plan.desired != last) (plan.desired > last ? up : down).Increment();
  last = plan.desired;
}

PlannerMetrics::PlannerMetrics(bool dry_run)
    : prefill_(metrics_, Pool::kPrefill),
      decode_(metrics_, Pool::kDecode),
      requests_(metrics_.AddGauge("baton_planner_requests_per_second",
                                  "Requests that routers accept, over the last seconds")),
      prompt_(metrics_.AddGauge("baton_planner_request_prompt_tokens",
                                "Prompt tokens of a request, lately, on average")),
      cached_(metrics_.AddGauge("baton_planner_cached_ratio",
                                "Share of prompt tokens found in a prefix cache, lately")),
      output_(metrics_.AddGauge("baton_planner_request_output_tokens",
                                "Output tokens of a request, lately, on average")),
      queued_(
          metrics_.AddGauge("baton_planner_queued_requests", "Requests that wait in the routers")),
      pace_(metrics_.AddGauge("baton_planner_itl_pace_ratio",
                              "Time between tokens over what workers' own step models say")),
      answered_(metrics_.AddGauge("baton_planner_routers", "Routers by whether they answered",
                                  {{"state", "answered"}})),
      failed_(metrics_.AddGauge("baton_planner_routers", "Routers by whether they answered",
                                {{"state", "failed"}})),
      planned_at_(metrics_.AddGauge("baton_planner_last_plan_timestamp_seconds",
                                    "When the latest plan was made, Unix time")) {
  metrics_.AddGauge("baton_planner_dry_run", "1: plans are published and nobody is told to follow")
      .Set(dry_run ? 1 : 0);
}

void PlannerMetrics::Note(const Standing& standing) {
  const Picture& picture = standing.picture;
  prefill_.Note(standing.plan.prefill, picture.prefill);
  decode_.Note(standing.plan.decode, picture.decode);
  requests_.Set(picture.recent.requests_per_second);
  prompt_.Set(picture.recent.prompt_tokens);
  cached_.Set(picture.recent.cached_share);
  output_.Set(picture.recent.output_tokens);
  queued_.Set(static_cast<double>(picture.queued_requests));
  pace_.Set(picture.pace);
  answered_.Set(standing.routers_answered);
  failed_.Set(standing.routers_failed);
  planned_at_.Set(absl::ToDoubleSeconds(standing.wall - absl::UnixEpoch()));
}

void PlannerMetrics::NoteSilence(int routers_failed) {
  answered_.Set(0);
  failed_.Set(routers_failed);
}

}  // namespace baton::planner
