#include "services/planner/doors/plan_json.h"

#include <cmath>

#include "nlohmann/json.hpp"

namespace baton::planner {
namespace {

using Json = nlohmann::ordered_json;

double Rounded(double value) { return std::round(value * 1e3) / 1e3; }

Json TrafficJson(const Traffic& traffic) {
  return {{"requests_per_second", Rounded(traffic.requests_per_second)},
          {"prompt_tokens", Rounded(traffic.prompt_tokens)},
          {"cached_share", Rounded(traffic.cached_share)},
          {"output_tokens", Rounded(traffic.output_tokens)}};
}

Json PoolJson(const PoolPlan& plan, const PoolState& state) {
  return {{"desired", plan.desired},
          {"needed", plan.need.workers},
          {"workers", state.workers},
          {"present", state.present},
          {"reason", plan.reason()},
          {"text", plan.text()},
          {"running", state.running},
          {"waiting", state.waiting},
          {"waiting_tokens", state.waiting_tokens},
          {"blocks_active", state.blocks_active},
          {"blocks_of_a_worker", state.blocks}};
}

}  // namespace

std::string PlanJson(const PlanBoard& board) {
  Json page{{"dry_run", board.dry_run()}, {"plan", nullptr}};
  if (const auto now = board.Latest()) {
    const Picture& picture = now->picture;
    page["plan"] = {
        {"at", absl::FormatTime(absl::RFC3339_full, now->wall, absl::UTCTimeZone())},
        {"routers", {{"answered", now->routers_answered}, {"failed", now->routers_failed}}},
        {"traffic",
         {{"recent", TrafficJson(picture.recent)}, {"steady", TrafficJson(picture.steady)}}},
        {"queue",
         {{"requests", picture.queued_requests},
          {"prompt_tokens", picture.queued_tokens},
          {"unserved", picture.unserved}}},
        {"itl_pace", Rounded(picture.pace)},
        {"pools",
         {{"prefill", PoolJson(now->plan.prefill, picture.prefill)},
          {"decode", PoolJson(now->plan.decode, picture.decode)}}}};
  }
  return page.dump(1) + "\n";
}

}  // namespace baton::planner
