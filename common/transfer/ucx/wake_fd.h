#pragma once

#include <sys/eventfd.h>
#include <unistd.h>

#include <cstdint>

#include "common/base/check.h"

namespace baton::transfer {

// Wakes a thread that sleeps in epoll. Wake() from any thread; the rest belongs to the sleeper.
class WakeFd {
 public:
  WakeFd() : fd_(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {
    CHECK(fd_ >= 0, "eventfd: out of file descriptors");
  }
  ~WakeFd() { ::close(fd_); }
  WakeFd(const WakeFd&) = delete;
  WakeFd& operator=(const WakeFd&) = delete;

  void Wake() {
    const uint64_t one = 1;
    [[maybe_unused]] const ssize_t written =
        ::write(fd_, &one, sizeof one);  // full means awake already
  }
  void Clear() {
    uint64_t count = 0;
    [[maybe_unused]] const ssize_t taken = ::read(fd_, &count, sizeof count);
  }
  int fd() const { return fd_; }

 private:
  const int fd_;
};

}  // namespace baton::transfer
