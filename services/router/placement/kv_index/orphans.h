#pragma once

#include <cstddef>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "common/kv/block_hash.h"

namespace baton::router {

// Blocks that one worker holds although something before them is missing there: no prompt can use
// them now, and no look-up sees them. They wait for their parent. The writer's.
class Orphans {
 public:
  bool empty() const { return parent_of_.empty(); }
  size_t size() const { return parent_of_.size(); }
  bool Has(const kv::BlockHash& hash) const { return parent_of_.contains(hash); }
  void Add(const kv::BlockHash& hash, const kv::BlockHash& parent);
  // False: it was none.
  bool Remove(const kv::BlockHash& hash);
  // Those whose parent is complete now; they are orphans no more.
  std::vector<kv::BlockHash> TakeChildrenOf(const kv::BlockHash& parent);

 private:
  absl::flat_hash_map<kv::BlockHash, kv::BlockHash> parent_of_;
  absl::flat_hash_map<kv::BlockHash, absl::flat_hash_set<kv::BlockHash>> children_of_;
};

}  // namespace baton::router
