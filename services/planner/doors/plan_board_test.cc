#include "services/planner/doors/plan_board.h"

#include <gtest/gtest.h>

#include "nlohmann/json.hpp"
#include "services/planner/doors/plan_json.h"
#include "services/planner/doors/planner_metrics.h"

namespace baton::planner {
namespace {

Standing Planned(int32_t prefill, int32_t decode, const Clock& clock) {
  Standing standing{.routers_answered = 2, .at = clock.Monotonic(), .wall = clock.Wall()};
  standing.plan.prefill = {.desired = prefill, .need = {prefill, Cause::kArrivals, "so"}};
  standing.plan.decode = {.desired = decode, .need = {decode, Cause::kItl, "so"}};
  standing.picture.prefill.present = 1;
  standing.picture.decode.present = 2;
  return standing;
}

TEST(PlanBoardTest, SaysThePlanWhileItIsFresh) {
  ManualClock clock;
  PlanBoard board({.stale_after = absl::Minutes(1)}, clock);
  EXPECT_TRUE(absl::IsUnavailable(board.Answer(Pool::kDecode).status()));
  board.Publish(Planned(3, 5, clock));
  EXPECT_EQ(*board.Answer(Pool::kPrefill), 3);
  EXPECT_EQ(*board.Answer(Pool::kDecode), 5);
  clock.Advance(absl::Seconds(61));
  EXPECT_TRUE(absl::IsUnavailable(board.Answer(Pool::kDecode).status()));
}

TEST(PlanBoardTest, ADryRunTellsEverybodyToLeaveThingsAsTheyAre) {
  ManualClock clock;
  PlanBoard board({.dry_run = true}, clock);
  board.Publish(Planned(3, 5, clock));
  EXPECT_EQ(*board.Answer(Pool::kPrefill), 1);
  EXPECT_EQ(*board.Answer(Pool::kDecode), 2);
  EXPECT_EQ(board.Latest()->plan.decode.desired, 5);
}

TEST(PlanBoardTest, ThePageExplainsThePlan) {
  ManualClock clock;
  PlanBoard board({}, clock);
  EXPECT_TRUE(nlohmann::json::parse(PlanJson(board))["plan"].is_null());
  board.Publish(Planned(3, 5, clock));
  const auto plan = nlohmann::json::parse(PlanJson(board))["plan"];
  EXPECT_EQ(plan["pools"]["decode"]["desired"], 5);
  EXPECT_EQ(plan["pools"]["decode"]["reason"], "itl");
  EXPECT_EQ(plan["pools"]["decode"]["text"], "5 needed: so");
  EXPECT_EQ(plan["routers"]["answered"], 2);
}

TEST(PlannerMetricsTest, OneReasonHoldsAndChangesAreCounted) {
  ManualClock clock;
  PlannerMetrics metrics(/*dry_run=*/false);
  metrics.Note(Planned(1, 2, clock));
  metrics.Note(Planned(1, 5, clock));
  const std::string text = metrics.Render();
  const auto has = [&](const std::string& line) {
    return text.find(line + "\n") != std::string::npos;
  };
  EXPECT_TRUE(has(R"(baton_planner_desired_replicas{pool="decode"} 5)")) << text;
  EXPECT_TRUE(has(R"(baton_planner_reason{pool="decode",reason="itl"} 1)")) << text;
  EXPECT_TRUE(has(R"(baton_planner_reason{pool="decode",reason="queue"} 0)")) << text;
  EXPECT_TRUE(has(R"(baton_planner_changes_total{direction="up",pool="decode"} 1)")) << text;
  EXPECT_TRUE(has(R"(baton_planner_changes_total{direction="up",pool="prefill"} 0)")) << text;
}

}  // namespace
}  // namespace baton::planner
