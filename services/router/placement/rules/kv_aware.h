#pragma once

#include <tuple>

#include "services/router/placement/rule.h"

namespace baton::router {

// Most of the prompt in the prefix cache, however busy the worker is; then the least queued.
struct KvAwareKey {
  auto operator()(const PlacementRequest& request, const WorkerState& worker) const {
    return std::make_tuple(worker.uncached_tokens(request.prompt_tokens), worker.sequences(),
                           worker.queued_tokens());
  }
};
using KvAwareRule = LeastRule<KvAwareKey>;

}  // namespace baton::router
