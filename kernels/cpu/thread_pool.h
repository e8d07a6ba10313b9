#pragma once

#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

namespace baton::kernels {

// Runs loops of independent tasks on the owner's thread and `num_threads - 1` workers. Tasks are
// taken one by one from a counter, so a core that another process keeps busy slows the loop by its
// share only. Idle workers look for work for some tens of microseconds and then sleep: an idle pool
// uses no CPU.
//
// One owner thread calls ParallelFor; tasks do not call it. Workers end with the pool.
class ThreadPool {
 public:
  explicit ThreadPool(int num_threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int num_threads() const { return int(workers_.size()) + 1; }

  // Calls fn(task, thread) for every task in [0, num_tasks), thread in [0, num_threads()); returns
  // when all are done. What tasks write is visible to the caller, and the other way round.
  template <typename Fn>
  void ParallelFor(int64_t num_tasks, const Fn& fn) {
    if (num_tasks <= 1 || workers_.empty()) {
      for (int64_t task = 0; task < num_tasks; ++task) fn(task, 0);
      return;
    }
    Run(
        num_tasks,
        [](const void* f, int64_t task, int thread) { (*static_cast<const Fn*>(f))(task, thread); },
        &fn);
  }

 private:
  using Task = void (*)(const void* fn, int64_t task, int thread);

  void Run(int64_t num_tasks, Task task, const void* fn);
  void WorkerLoop(int thread);
  // Takes and runs one task of the current loop. False: none is left.
  bool RunOne(int thread);
  void WaitForWork(uint64_t seen);
  void WaitForOthers();

  // The current loop: written by the owner while no task of it can be taken or is running.
  Task task_ = nullptr;
  const void* fn_ = nullptr;
  int64_t num_tasks_ = 0;

  // High half: number of the loop; low half: tasks not yet taken. Taking one is a compare-and-swap,
  // so that a worker who slept through a whole loop can't take a task of the next by an old count.
  alignas(64) std::atomic<uint64_t> ticket_{0};
  alignas(64) std::atomic<int64_t> unfinished_{0};
  alignas(64) std::atomic<uint32_t> work_signal_{
      0};  // futex: bumped when sleepers are to look again
  std::atomic<int32_t> sleeping_workers_{0};
  alignas(64) std::atomic<uint32_t> done_signal_{0};  // futex: 1 while the owner sleeps
  std::atomic<bool> stopping_{false};
  std::vector<std::thread> workers_;
};

}  // namespace baton::kernels
