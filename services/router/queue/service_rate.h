#pragma once

#include "absl/time/time.h"

namespace baton::router {

// How many requests begin per second while others wait: what a place in the queue is worth in time.
// Old measurements fade over about `memory` of such time. Plain data; time is handed in and never
// goes back.
class ServiceRate {
 public:
  explicit ServiceRate(absl::Duration memory = absl::Seconds(30)) : memory_(memory) {}

  // From now on somebody waits, or nobody.
  void SetBusy(bool busy, absl::Duration now);
  // One that waited has begun.
  void Count(absl::Duration now);
  // Per second; 0: too little is known.
  double PerSecond(absl::Duration now) const;

 private:
  void Advance(absl::Duration now);

  const absl::Duration memory_;
  double begun_ = 0;    // faded
  double seconds_ = 0;  // likewise
  bool busy_ = false;
  absl::Duration since_;  // while busy: up to here all is counted
};

}  // namespace baton::router
