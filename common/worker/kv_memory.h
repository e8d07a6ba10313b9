#pragma once

#include <span>

#include "common/base/strong_id.h"
#include "kernels/kv_shares.h"

namespace baton::worker {

// Gives the pages that lie wholly within these blocks back to the operating system; their content
// is lost. Whoever writes to them later, through any process's mapping, gets fresh ones. For pools
// in shared host memory that is not pinned (a pinned page would be left to its device alone).
// Whatever cannot be given back is kept.
void DropKvMemory(const kernels::KvShares& pool, std::span<const BlockId> blocks);

}  // namespace baton::worker
