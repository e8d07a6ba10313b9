#pragma once

#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace baton {

// Time, handed in. Thread-safe. Wall time is for logs and for spans, monotonic for durations; the
// real clock is the only one that outlives a test.
class Clock {
 public:
  virtual ~Clock() = default;
  // Since an arbitrary origin; never goes back.
  virtual absl::Duration Monotonic() const = 0;
  virtual absl::Time Wall() const = 0;

  static const Clock& Real();
};

// Turned by hand. Not thread-safe against Advance().
class ManualClock : public Clock {
 public:
  absl::Duration Monotonic() const override { return now_; }
  absl::Time Wall() const override { return absl::UnixEpoch() + now_; }
  void Advance(absl::Duration by) { now_ += by; }

 private:
  absl::Duration now_ = absl::Seconds(1);
};

}  // namespace baton
