#pragma once

#include <utility>

#include "services/router/placement/rule.h"

namespace baton::router {

// Fewest sequences running, waiting and just placed; then fewest prompt tokens not computed yet.
struct QueueKey {
  auto operator()(const PlacementRequest&, const WorkerState& worker) const {
    return std::make_pair(worker.sequences(), worker.queued_tokens());
  }
};
using LeastQueuedRule = LeastRule<QueueKey>;

}  // namespace baton::router
