#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <utility>

#include "absl/time/time.h"

namespace baton::router {

// One tenant's waiting requests of one priority, by a key (the smallest goes first) and among
// equals by arrival. Who has waited for `aging` goes first whatever its key, so that nobody
// starves. Plain data.
class TenantLine {
 public:
  // `arrival` grows from one call to the next, and so does `since`.
  void Add(uint64_t arrival, absl::Duration since, int64_t key);
  void Remove(uint64_t arrival);
  // All three require that somebody waits. They name an arrival.
  uint64_t First(absl::Duration now, absl::Duration aging) const;
  uint64_t Newest() const { return by_arrival_.rbegin()->first; }
  absl::Duration oldest_since() const { return by_arrival_.begin()->second.since; }

  size_t size() const { return by_arrival_.size(); }
  bool empty() const { return by_arrival_.empty(); }

 private:
  struct Place {
    absl::Duration since;
    int64_t key = 0;
  };
  std::map<uint64_t, Place> by_arrival_;
  std::set<std::pair<int64_t, uint64_t>> by_key_;
};

}  // namespace baton::router
