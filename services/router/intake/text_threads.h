#pragma once

#include <deque>
#include <functional>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace baton::router {

// Threads for work that takes its time with text (parsing, rendering, tokenizing), so that no long
// prompt holds up the I/O threads. The queue is bounded.
class TextThreads {
 public:
  using Task = std::function<void()>;
  TextThreads(int threads, size_t waiting_max);
  ~TextThreads() { Close(); }

  // Runs what waits, then joins. Nothing is taken any more.
  void Close();

  // False: too much waits already, or the end has begun.
  [[nodiscard]] bool Spawn(Task task);

 private:
  void Work();

  const size_t waiting_max_;
  absl::Mutex mutex_;
  std::deque<Task> waiting_ ABSL_GUARDED_BY(mutex_);
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<std::thread> threads_;
};

}  // namespace baton::router
