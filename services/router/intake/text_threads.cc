#include "services/router/intake/text_threads.h"

#include <algorithm>
#include <utility>

namespace baton::router {

TextThreads::TextThreads(int threads, size_t waiting_max) : waiting_max_(waiting_max) {
  for (int i = 0; i < std::max(1, threads); ++i) threads_.emplace_back([this] { Work(); });
}

void TextThreads::Close() {
  {
    absl::MutexLock lock(&mutex_);
    closed_ = true;
  }
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
}

bool TextThreads::Spawn(Task task) {
  absl::MutexLock lock(&mutex_);
  if (closed_ || waiting_.size() >= waiting_max_) return false;
  waiting_.push_back(std::move(task));
  return true;
}

void TextThreads::Work() {
  const auto has_news = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return closed_ || !waiting_.empty();
  };
  for (;;) {
    Task task;
    {
      absl::MutexLock lock(&mutex_);
      mutex_.Await(absl::Condition(&has_news));
      if (waiting_.empty()) return;
      task = std::move(waiting_.front());
      waiting_.pop_front();
    }
    task();
  }
}

}  // namespace baton::router
