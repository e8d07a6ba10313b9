#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <thread>
#include <vector>

namespace baton::model {

// The threads of a tensor-parallel group: rank 0 is the owner's own, the others sleep between two
// calls of Run(). Whatever a rank touches is touched by its thread only while Run() goes on, so
// that between two calls the owner may use all of it. One owner thread; threads end with the
// object.
class RankThreads {
 public:
  explicit RankThreads(int32_t size);
  ~RankThreads();
  RankThreads(const RankThreads&) = delete;

  // Calls work(rank) for every rank at the same time; returns when all have returned.
  void Run(const std::function<void(int32_t rank)>& work);

 private:
  void Loop(int32_t rank);

  // Of the call under way: written while all threads sleep.
  const std::function<void(int32_t rank)>* work_ = nullptr;  // null: the end
  std::atomic<uint32_t> call_{0};                            // number of the call
  std::atomic<int32_t> unfinished_{0};  // threads that have not returned from it
  std::vector<std::thread> threads_;
};

}  // namespace baton::model
