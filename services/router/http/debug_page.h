#pragma once

#include <string>

#include "services/router/dispatch/dispatcher.h"
#include "services/router/membership/roster.h"

namespace baton::router {

inline constexpr size_t kDecisionsShown = 256;

// /debug/cluster: {"router", "queue", "workers", "decisions"}; decisions newest first, with their
// inputs, so many at most.
std::string DebugClusterJson(const Roster& roster, const Dispatcher& dispatcher,
                             size_t decisions = kDecisionsShown);

}  // namespace baton::router
