#pragma once

#include <string>

#include "services/planner/doors/plan_board.h"

namespace baton::planner {

// /plan, for people: {"dry_run", "plan"}; "plan" is null before the first one, else {"at",
// "routers", "traffic", "queue", "itl_pace", "pools": {"prefill", "decode"}}, each with "desired",
// "reason" and the sentence that explains it.
std::string PlanJson(const PlanBoard& board);

}  // namespace baton::planner
