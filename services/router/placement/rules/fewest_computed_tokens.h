#pragma once

#include <utility>

#include "services/router/placement/rule.h"

namespace baton::router {

// Fewest prompt tokens to compute until this prompt is done: those that are queued ahead of it and
// its own that are not cached there; then fewest sequences. Weighs cache against queue with no
// measurement at all, as if every worker computed a token in the same time.
struct ComputedTokensKey {
  auto operator()(const PlacementRequest& request, const WorkerState& worker) const {
    return std::make_pair(worker.queued_tokens() + worker.uncached_tokens(request.prompt_tokens),
                          worker.sequences());
  }
};
using FewestComputedTokensRule = LeastRule<ComputedTokensKey>;

}  // namespace baton::router
