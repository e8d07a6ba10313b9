#include "common/process/stop_signal.h"

#include <unistd.h>

#include <ctime>

namespace baton {

StopSignal::StopSignal() {
  sigemptyset(&signals_);
  sigaddset(&signals_, SIGINT);
  sigaddset(&signals_, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &signals_, nullptr);
}

int StopSignal::Wait() {
  int signal = 0;
  sigwait(&signals_, &signal);
  raised_ = true;
  pthread_sigmask(SIG_UNBLOCK, &signals_, nullptr);
  return signal;
}

bool StopSignal::WaitFor(absl::Duration time) {
  const timespec most = absl::ToTimespec(time);
  if (sigtimedwait(&signals_, nullptr, &most) <= 0) return false;
  raised_ = true;
  return true;
}

void StopSignal::Raise() {
  if (!raised_.exchange(true)) kill(getpid(), SIGTERM);
}

}  // namespace baton
