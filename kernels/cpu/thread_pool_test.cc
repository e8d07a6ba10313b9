#include "kernels/cpu/thread_pool.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <ctime>
#include <thread>
#include <vector>

namespace baton::kernels {
namespace {

double ProcessCpuSeconds() {
  timespec time;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return double(time.tv_sec) + 1e-9 * double(time.tv_nsec);
}

TEST(ThreadPoolTest, EveryTaskRunsOnceAndItsWritesAreSeen) {
  for (int threads : {1, 2, 3, 8}) {
    ThreadPool pool(threads);
    EXPECT_EQ(pool.num_threads(), threads);
    for (int64_t tasks : {0, 1, 2, 7, 1000}) {
      std::vector<int> runs(size_t(tasks), 0);  // plain ints: the loop itself orders the accesses
      pool.ParallelFor(tasks, [&](int64_t task, int thread) {
        ASSERT_LT(thread, threads);
        ++runs[size_t(task)];
      });
      for (int count : runs) ASSERT_EQ(count, 1);
    }
  }
}

TEST(ThreadPoolTest, ManyShortLoopsInARowNeverLoseATask) {
  ThreadPool pool(4);
  std::vector<int64_t> sums(16);
  int64_t total = 0;
  for (int64_t loop = 0; loop < 20000; ++loop) {
    const int64_t tasks = 1 + loop % 16;
    pool.ParallelFor(tasks, [&](int64_t task, int) { sums[size_t(task)] = loop; });
    for (int64_t task = 0; task < tasks; ++task) ASSERT_EQ(sums[size_t(task)], loop);
    total += tasks;
  }
  EXPECT_GT(total, 0);
}

TEST(ThreadPoolTest, LoopsAfterASleepWakeTheWorkers) {
  ThreadPool pool(2);
  for (int round = 0; round < 20; ++round) {
    // Long past the spinning: the worker is asleep, or about to be.
    const auto start = std::chrono::steady_clock::now();
    while (std::chrono::steady_clock::now() - start < std::chrono::microseconds(30 + 20 * round)) {
    }
    // Both tasks wait for each other: only two threads together can finish the loop.
    std::atomic<int> arrived = 0;
    pool.ParallelFor(2, [&](int64_t, int) {
      ++arrived;
      while (arrived < 2) std::this_thread::yield();
    });
    ASSERT_EQ(arrived, 2);
  }
}

TEST(ThreadPoolTest, ABusyThreadLeavesItsTasksToTheOthers) {
  ThreadPool pool(2);
  std::atomic<int> done = 0;
  std::atomic<int> slow_thread = -1;
  std::vector<int> ran_on(64, -1);
  pool.ParallelFor(64, [&](int64_t task, int thread) {
    ran_on[size_t(task)] = thread;
    int none = -1;
    if (slow_thread.compare_exchange_strong(none, thread)) {
      while (done < 63) std::this_thread::yield();  // as if its core were taken away
    }
    ++done;
  });
  EXPECT_EQ(std::count(ran_on.begin(), ran_on.end(), slow_thread.load()), 1);
}

TEST(ThreadPoolTest, AnIdlePoolUsesNoCpu) {
  ThreadPool pool(4);
  pool.ParallelFor(64, [](int64_t, int) {});
  // Wait until the workers have gone to sleep, which the process's CPU time shows; an always
  // spinning pool would never let it stand still.
  for (int attempt = 0; attempt < 200; ++attempt) {
    const double before = ProcessCpuSeconds();
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
    if (ProcessCpuSeconds() - before < 0.001) return;
  }
  FAIL() << "the pool's threads are still busy";
}

}  // namespace
}  // namespace baton::kernels
