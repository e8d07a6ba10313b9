#pragma once

#include <atomic>
#include <csignal>

#include "absl/time/time.h"

namespace baton {

// SIGINT and SIGTERM as something to wait for instead of a handler. Construct it in main() before
// any thread is started: the signals are blocked for all of them.
class StopSignal {
 public:
  StopSignal();
  // Blocks until one of the two arrives; returns its number. From then on the next one kills the
  // process the usual way: whoever asks twice means it.
  int Wait();
  // True: one of the two has come, now or while nobody waited. They stay blocked: the next one is
  // for the next call.
  bool WaitFor(absl::Duration time);
  // The same without a signal from outside, at most once: what Wait() waits for. Any thread.
  void Raise();

 private:
  sigset_t signals_;
  std::atomic<bool> raised_ = false;
};

}  // namespace baton
