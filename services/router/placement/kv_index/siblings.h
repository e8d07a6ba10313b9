#pragma once

#include <cstddef>
#include <cstdint>

#include "absl/container/flat_hash_map.h"
#include "services/router/placement/kv_index/block_records.h"

namespace baton::router {

// The children of each record. Nearly every block has one child at most, and then the parent's
// record says it all; where prompts part, the children are linked in a table beside the records.
// The writer's.
class Siblings {
 public:
  explicit Siblings(BlockRecords& records) : records_(records) {}

  void Add(RecordId parent, RecordId child) {
    BlockRecord& above = records_.at(parent);
    if (above.first_child == 0) {
      above.first_child = child;
    } else {
      AddBesideOthers(above, child);
    }
  }
  void Remove(RecordId parent, RecordId child);
  // Its children have no parent from now on.
  void RemoveAll(RecordId parent);

  // One of them; 0: it has none.
  static RecordId First(const BlockRecord& parent) { return parent.first_child & ~kSeveral; }
  static bool Several(const BlockRecord& parent) { return (parent.first_child & kSeveral) != 0; }
  template <typename Visit>
  void ForEach(const BlockRecord& parent, Visit visit) const {
    RecordId child = First(parent);
    const bool several = Several(parent);
    while (child != 0) {
      const RecordId next = several ? links_.at(child).next : 0;
      visit(child);
      child = next;
    }
  }

  size_t bytes() const { return links_.capacity() * (sizeof(RecordId) + sizeof(Links) + 1); }

 private:
  struct Links {
    RecordId next = 0;
    RecordId previous = 0;
  };
  static constexpr RecordId kSeveral = RecordId{1} << 31;

  void AddBesideOthers(BlockRecord& above, RecordId child);

  BlockRecords& records_;
  absl::flat_hash_map<RecordId, Links> links_;
};

}  // namespace baton::router
