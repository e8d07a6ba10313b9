#pragma once

#include <cstdint>
#include <span>

#include "common/kv/block_hash.h"
#include "services/router/placement/kv_index/branch_hints.h"
#include "services/router/placement/kv_index/kv_matches.h"
#include "services/router/placement/kv_index/prefix_tree.h"
#include "services/router/placement/kv_index/worker_numbers.h"

namespace baton::router {

// Adds to `matches` how many leading blocks of `prompt` each worker holds. Probes the two ends,
// both sides of the hint, and then only between blocks whose holders differ: about log2(blocks)
// probes for each different length found. Within a visit; every length was true at some moment of
// the search.
void SearchPrefix(const PrefixTree& tree, const WorkerNumbers& numbers, const BranchHints& hints,
                  std::span<const kv::BlockHash> prompt, KvMatches& matches);

}  // namespace baton::router
