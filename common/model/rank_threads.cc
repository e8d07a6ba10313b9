#include "common/model/rank_threads.h"

#include "common/base/check.h"

namespace baton::model {

RankThreads::RankThreads(int32_t size) {
  CHECK(size >= 1, "{} ranks", size);
  for (int32_t rank = 1; rank < size; ++rank) {
    threads_.emplace_back([this, rank] { Loop(rank); });
  }
}

RankThreads::~RankThreads() {
  work_ = nullptr;
  call_.fetch_add(1);
  call_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void RankThreads::Run(const std::function<void(int32_t rank)>& work) {
  work_ = &work;
  unfinished_.store(static_cast<int32_t>(threads_.size()));
  call_.fetch_add(1);
  call_.notify_all();
  work(0);
  for (int32_t left = unfinished_.load(); left > 0; left = unfinished_.load()) {
    unfinished_.wait(left);
  }
}

void RankThreads::Loop(int32_t rank) {
  for (uint32_t seen = 0;; ++seen) {
    call_.wait(
        seen);  // until it is not `seen`; the next call comes after this rank's end of this one
    if (work_ == nullptr) return;
    (*work_)(rank);
    if (unfinished_.fetch_sub(1) == 1) unfinished_.notify_one();
  }
}

}  // namespace baton::model
