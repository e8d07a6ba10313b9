#include "common/concurrency/stop_signal.h"

#include <unistd.h>

namespace baton {

StopSignal::StopSignal() {
  sigemptyset(&signals_);
  sigaddset(&signals_, SIGINT);
  sigaddset(&signals_, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &signals_, nullptr);
  std::signal(SIGPIPE, SIG_IGN);  // a peer that closed its socket is an error of a call, not of us
}

int StopSignal::Wait() {
  int signal = 0;
  sigwait(&signals_, &signal);
  raised_ = true;
  pthread_sigmask(SIG_UNBLOCK, &signals_, nullptr);
  return signal;
}

void StopSignal::Raise() {
  if (!raised_.exchange(true)) kill(getpid(), SIGTERM);
}

}  // namespace baton
