#pragma once

#include <cstddef>
#include <deque>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace baton {

// A bounded queue from many threads to one owner thread. Full is said at the edge (TryPush returns
// false); what must never be refused (completions, cancels, failures of work already accepted) goes
// by Push, which is bounded by the accepted work it belongs to.
template <typename Message>
class Mailbox {
 public:
  explicit Mailbox(size_t capacity) : capacity_(capacity) {}

  // False when `capacity` messages wait already, or the mailbox is closed.
  [[nodiscard]] bool TryPush(Message message) ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    if (closed_ || messages_.size() >= capacity_) return false;
    messages_.push_back(std::move(message));
    return true;
  }

  // Ignores the capacity. False only when closed: the message is dropped.
  bool Push(Message message) ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    if (closed_) return false;
    messages_.push_back(std::move(message));
    return true;
  }

  // Takes everything at once; empty when nothing waits. Never blocks beyond the lock.
  std::vector<Message> Drain() ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    return TakeAll();
  }

  // Like Drain(), but sleeps up to `patience` for the first message (or for Close()).
  std::vector<Message> WaitAndDrain(absl::Duration patience) ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    mutex_.AwaitWithTimeout(absl::Condition(this, &Mailbox::HasNews), patience);
    return TakeAll();
  }

  // No message gets in any more; what waits can still be drained. Wakes the owner.
  void Close() ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    closed_ = true;
  }

  bool closed() const ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    return closed_;
  }

 private:
  bool HasNews() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return closed_ || !messages_.empty();
  }
  std::vector<Message> TakeAll() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    std::vector<Message> taken(std::make_move_iterator(messages_.begin()),
                               std::make_move_iterator(messages_.end()));
    messages_.clear();
    return taken;
  }

  const size_t capacity_;
  mutable absl::Mutex mutex_;
  std::deque<Message> messages_ ABSL_GUARDED_BY(mutex_);
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace baton
