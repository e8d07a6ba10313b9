#include "services/router/placement/kv_index/siblings.h"

namespace baton::router {

void Siblings::AddBesideOthers(BlockRecord& above, RecordId child) {
  const RecordId first = First(above);
  links_[first].previous = child;
  links_[child] = {.next = first};
  above.first_child = child | kSeveral;
}

void Siblings::Remove(RecordId parent, RecordId child) {
  BlockRecord& above = records_.at(parent);
  if (!Several(above)) {
    above.first_child = 0;
    return;
  }
  const auto found = links_.find(child);
  const Links links = found->second;
  links_.erase(found);
  if (links.previous != 0) links_.at(links.previous).next = links.next;
  if (links.next != 0) links_.at(links.next).previous = links.previous;
  const RecordId first = links.previous == 0 ? links.next : First(above);
  const auto left = links_.find(first);
  const bool alone = left->second.next == 0;
  if (alone) links_.erase(left);
  above.first_child = alone ? first : first | kSeveral;
}

void Siblings::RemoveAll(RecordId parent) {
  BlockRecord& above = records_.at(parent);
  const bool several = Several(above);
  ForEach(above, [&](RecordId child) {
    records_.at(child).parent = kParentGone;
    if (several) links_.erase(child);
  });
  above.first_child = 0;
}

}  // namespace baton::router
