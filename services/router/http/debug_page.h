#pragma once

#include <string>

#include "services/router/dispatch/dispatcher.h"
#include "services/router/membership/roster.h"

namespace baton::router {

// /debug/cluster: {"router", "workers", "decisions"}; decisions newest first, with their inputs.
std::string DebugClusterJson(const Roster& roster, const Dispatcher& dispatcher);

}  // namespace baton::router
