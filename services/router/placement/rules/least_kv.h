#pragma once

#include <algorithm>
#include <utility>

#include "services/router/placement/rule.h"

namespace baton::router {

// Smallest share of the KV pool in use; cached blocks that nobody reads are as good as free. What
// waits there or was placed since the last report has no blocks yet: it is taken to need as many as
// this prompt.
struct KvShareKey {
  auto operator()(const PlacementRequest& request, const WorkerState& worker) const {
    const engine::LoadReport& load = worker.load.engine;
    const int32_t total = load.blocks_total > 0 ? load.blocks_total : worker.profile.num_blocks;
    const int32_t used = std::max(0, load.blocks_total - load.blocks_free - load.blocks_cached);
    const int64_t prompt_blocks =
        1 + request.prompt_tokens / std::max(1, worker.profile.block_tokens);
    const int64_t coming = (load.waiting + worker.added_sequences) * prompt_blocks;
    return std::make_pair(static_cast<double>(used + coming) / std::max(1, total),
                          worker.sequences());
  }
};
using LeastKvRule = LeastRule<KvShareKey>;

}  // namespace baton::router
