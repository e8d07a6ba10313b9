#include "services/router/placement/kv_index/orphans.h"

namespace baton::router {

void Orphans::Add(const kv::BlockHash& hash, const kv::BlockHash& parent) {
  parent_of_[hash] = parent;
  children_of_[parent].insert(hash);
}

bool Orphans::Remove(const kv::BlockHash& hash) {
  auto found = parent_of_.find(hash);
  if (found == parent_of_.end()) return false;
  auto siblings = children_of_.find(found->second);
  siblings->second.erase(hash);
  if (siblings->second.empty()) children_of_.erase(siblings);
  parent_of_.erase(found);
  return true;
}

std::vector<kv::BlockHash> Orphans::TakeChildrenOf(const kv::BlockHash& parent) {
  auto found = children_of_.find(parent);
  if (found == children_of_.end()) return {};
  std::vector<kv::BlockHash> children(found->second.begin(), found->second.end());
  children_of_.erase(found);
  for (const kv::BlockHash& child : children) parent_of_.erase(child);
  return children;
}

}  // namespace baton::router
