#pragma once

#include <functional>
#include <memory>

#include "absl/time/time.h"
#include "baton/v1/worker.pb.h"
#include "common/base/status.h"
#include "common/handover/attempt.h"

namespace baton::handover {

// The prefill workers as a decode worker sees them: whom to call and how. Thread-safe; nothing
// blocks.
class PrefillPeers {
 public:
  virtual ~PrefillPeers() = default;

  // A Prefill call that has yet to be started. The listener outlives it.
  virtual std::shared_ptr<Attempt> Open(const v1::PrefillTarget& target, const AttemptId& id,
                                        AttemptListener& listener) = 0;

  // `done` runs once, on some thread, at the latest a little after `timeout`; OK: the worker has
  // answered.
  virtual void Fence(const v1::PrefillTarget& target, const v1::FenceRequest& request,
                     absl::Duration timeout, std::function<void(absl::Status)> done) = 0;
};

}  // namespace baton::handover
