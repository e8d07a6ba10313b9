#include "common/process/start.h"

#include <csignal>

#include "absl/synchronization/mutex.h"

namespace baton {

void StartProcess() {
  std::signal(SIGPIPE, SIG_IGN);  // a peer that closed its socket is an error of a call, not of us
  // Abseil may have been built to look for cycles at every Lock() (Debian's is): 2 to 3 % of a
  // busy router. The thread sanitizer looks for them in the tests.
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
}

}  // namespace baton
