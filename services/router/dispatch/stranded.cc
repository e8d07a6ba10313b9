#include "services/router/dispatch/stranded.h"

#include <algorithm>

namespace baton::router {

void Stranded::Add(Entry entry) {
  absl::MutexLock lock(&mutex_);
  entries_.push_back(std::move(entry));
}

std::vector<Stranded::Entry> Stranded::TakeDue(absl::Duration now) {
  absl::MutexLock lock(&mutex_);
  const auto due = std::stable_partition(entries_.begin(), entries_.end(), [&](const Entry& entry) {
    return entry.try_at > now && entry.until > now;
  });
  std::vector<Entry> taken(std::make_move_iterator(due), std::make_move_iterator(entries_.end()));
  entries_.erase(due, entries_.end());
  return taken;
}

size_t Stranded::size() const {
  absl::MutexLock lock(&mutex_);
  return entries_.size();
}

}  // namespace baton::router
