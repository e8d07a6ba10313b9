#include "common/concurrency/ticker.h"

#include <utility>

namespace baton {

Ticker::Ticker(absl::Duration every, std::function<void()> tick)
    : every_(every), tick_(std::move(tick)), thread_([this] { Run(); }) {}

Ticker::~Ticker() { Stop(); }

void Ticker::Stop() {
  {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
  }
  if (thread_.joinable()) thread_.join();
}

void Ticker::Run() {
  while (true) {
    {
      absl::MutexLock lock(&mutex_);
      mutex_.AwaitWithTimeout(absl::Condition(&stopping_), every_);
      if (stopping_) return;
    }
    tick_();
  }
}

}  // namespace baton
