#include "kernels/cpu/thread_pool.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <chrono>
#include <climits>

#include "kernels/check.h"

namespace baton::kernels {
namespace {

using Clock = std::chrono::steady_clock;
constexpr auto kSpin = std::chrono::microseconds(40);

void Pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

// Looks at `done` until it holds or kSpin has passed.
template <typename Condition>
bool SpinUntil(const Condition& done) {
  const Clock::time_point end = Clock::now() + kSpin;
  do {
    for (int i = 0; i < 32; ++i) {
      if (done()) return true;
      Pause();
    }
  } while (Clock::now() < end);
  return false;
}

void FutexWait(std::atomic<uint32_t>& word, uint32_t expected) {
  syscall(SYS_futex, reinterpret_cast<uint32_t*>(&word), FUTEX_WAIT_PRIVATE, expected, nullptr,
          nullptr, 0);
}

void FutexWake(std::atomic<uint32_t>& word, int count) {
  syscall(SYS_futex, reinterpret_cast<uint32_t*>(&word), FUTEX_WAKE_PRIVATE, count, nullptr,
          nullptr, 0);
}

uint32_t TasksLeft(uint64_t ticket) { return uint32_t(ticket); }

}  // namespace

ThreadPool::ThreadPool(int num_threads) {
  KERNELS_CHECK(num_threads >= 1);
  for (int thread = 1; thread < num_threads; ++thread) {
    workers_.emplace_back([this, thread] { WorkerLoop(thread); });
  }
}

ThreadPool::~ThreadPool() {
  stopping_.store(true);
  work_signal_.fetch_add(1);
  FutexWake(work_signal_, INT_MAX);
  for (std::thread& worker : workers_) worker.join();
}

void ThreadPool::Run(int64_t num_tasks, Task task, const void* fn) {
  KERNELS_CHECK(num_tasks <= INT_MAX);
  task_ = task;
  fn_ = fn;
  num_tasks_ = num_tasks;
  unfinished_.store(num_tasks, std::memory_order_relaxed);
  const uint64_t loop = (ticket_.load(std::memory_order_relaxed) >> 32) + 1;
  ticket_.store(loop << 32 | uint64_t(num_tasks));  // seq_cst: before the look at the sleepers
  if (sleeping_workers_.load() > 0) {
    work_signal_.fetch_add(1);
    FutexWake(work_signal_, INT_MAX);
  }
  while (RunOne(0)) {
  }
  WaitForOthers();
}

bool ThreadPool::RunOne(int thread) {
  uint64_t ticket = ticket_.load(std::memory_order_acquire);
  do {
    if (TasksLeft(ticket) == 0) return false;
  } while (!ticket_.compare_exchange_weak(ticket, ticket - 1, std::memory_order_acquire));
  // Ours: the owner cannot begin another loop before this task is finished.
  task_(fn_, num_tasks_ - TasksLeft(ticket), thread);
  if (unfinished_.fetch_sub(1) == 1 && done_signal_.exchange(0) == 1) {
    FutexWake(done_signal_, 1);
  }
  return true;
}

void ThreadPool::WaitForOthers() {
  const auto done = [this] { return unfinished_.load(std::memory_order_acquire) == 0; };
  if (SpinUntil(done)) return;
  while (true) {
    done_signal_.store(1);
    if (unfinished_.load() == 0) break;
    FutexWait(done_signal_, 1);
    if (done()) break;
  }
  done_signal_.store(0);
}

void ThreadPool::WorkerLoop(int thread) {
  while (!stopping_.load()) {
    const uint64_t seen = ticket_.load(std::memory_order_acquire);
    if (TasksLeft(seen) > 0) {
      RunOne(thread);
    } else {
      WaitForWork(seen);
    }
  }
}

void ThreadPool::WaitForWork(uint64_t seen) {
  const auto changed = [&] {
    return ticket_.load(std::memory_order_relaxed) != seen || stopping_.load();
  };
  if (SpinUntil(changed)) return;
  sleeping_workers_.fetch_add(1);  // seq_cst: before the last look at the ticket
  const uint32_t signal = work_signal_.load();
  if (ticket_.load() == seen && !stopping_.load()) FutexWait(work_signal_, signal);
  sleeping_workers_.fetch_sub(1);
}

}  // namespace baton::kernels
