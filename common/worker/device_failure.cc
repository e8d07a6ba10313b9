#include "common/worker/device_failure.h"

#include <cstdlib>

#include "absl/time/clock.h"
#include "common/telemetry/logging.h"

namespace baton::worker {
namespace {

// For what `tell` has put on its way to reach the routers and the health service's watchers.
constexpr absl::Duration kNewsLeaveWithin = absl::Milliseconds(200);
// May be different next time: a supervisor starts the worker again.
constexpr int kExitCode = 1;

}  // namespace

void DeviceFailure::set_tell(std::function<void()> tell) {
  absl::MutexLock lock(&mutex_);
  tell_ = std::move(tell);
}

void DeviceFailure::End(const std::string& what) {
  telemetry::LogError("worker", "the device has failed; this worker ends", {{"error", what}});
  {
    absl::MutexLock lock(&mutex_);
    if (tell_) {
      tell_();
      absl::SleepFor(kNewsLeaveWithin);
    }
  }
  // No destructor may wait for the device.
  std::_Exit(kExitCode);
}

}  // namespace baton::worker
