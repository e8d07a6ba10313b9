#pragma once

#include <string>

#include "baton/v1/worker.pb.h"
#include "common/base/status.h"

namespace baton::decode_worker {

// One router's stream, as the worker sees it: one message per step with all its news. Thread-safe;
// nothing blocks.
class RouterSession {
 public:
  virtual ~RouterSession() = default;
  // Appends to the message being gathered.
  virtual void Add(v1::SequenceDelta delta) = 0;
  // Sends what was gathered, now or as soon as the message under way is written.
  virtual void Flush() = 0;
  // Ends the stream; only the first end counts. The worker is told by Detach(), later.
  virtual void Close(const absl::Status& status) = 0;
  // Who is at the other end, for people.
  virtual const std::string& peer() const = 0;
};

}  // namespace baton::decode_worker
