#pragma once

#include <memory>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/base/status.h"

namespace baton::router {

class Flight;

// Flights that have lost their worker and that nobody can take on now. They are tried again every
// little while, until their patience is over. Thread-safe.
class Stranded {
 public:
  struct Entry {
    std::shared_ptr<Flight> flight;
    absl::Status why;
    absl::Duration until;   // monotonic: give up after this
    absl::Duration try_at;  // not before this
  };
  void Add(Entry entry);
  // Takes those that are due: to be tried again, or, past `until`, to be failed.
  std::vector<Entry> TakeDue(absl::Duration now);
  size_t size() const;

 private:
  mutable absl::Mutex mutex_;
  std::vector<Entry> entries_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace baton::router
