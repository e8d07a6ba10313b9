#pragma once

#include <cstdint>

#include "absl/time/time.h"
#include "baton/v1/worker.pb.h"
#include "common/base/status.h"

namespace baton::handover {

// Names one Prefill call: of the engine's epoch, under the name the prefill worker knows it by.
struct AttemptId {
  uint64_t epoch = 0;
  uint64_t wire_epoch = 0;
};

// Calls of one attempt come one at a time; never from inside Start() or Cancel().
class AttemptListener {
 public:
  virtual ~AttemptListener() = default;
  // The prefill worker has said something; in order.
  virtual void OnAttemptEvent(const AttemptId& id, v1::PrefillEvent event) = 0;
  // The call has ended, exactly once. `fenced`: the worker says that no write of it can land any
  // more; otherwise (a broken connection, our own time limit) nobody knows.
  virtual void OnAttemptOver(const AttemptId& id, absl::Status status, bool fenced) = 0;
};

// One Prefill call to one prefill worker. Thread-safe. Lives at least until OnAttemptOver has
// returned.
class Attempt {
 public:
  virtual ~Attempt() = default;
  // Sends `request` and begins to listen; once, first.
  virtual void Start(v1::PrefillRequest request, absl::Duration timeout) = 0;
  // Asks the worker to stop; the call still ends by itself, fenced.
  virtual void Cancel() = 0;
  // Ends the call at once, unfenced; OnAttemptOver follows, perhaps before this returns.
  virtual void Abort() = 0;
};

}  // namespace baton::handover
