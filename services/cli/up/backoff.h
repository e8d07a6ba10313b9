#pragma once

#include <algorithm>

#include "absl/time/time.h"

namespace baton::cli {

// How long to wait before a process that died is started again: doubles with every death in a row,
// and begins anew once a life lasted longer than the longest pause.
class Backoff {
 public:
  Backoff(absl::Duration least, absl::Duration most) : least_(least), most_(most) {}

  absl::Duration AfterDeath(absl::Duration lived) {
    deaths_ = lived >= kStable ? 1 : deaths_ + 1;
    absl::Duration pause = least_;
    for (int i = 1; i < deaths_ && pause < most_; ++i) pause *= 2;
    return std::min(pause, most_);
  }
  int deaths_in_a_row() const { return deaths_; }

 private:
  static constexpr absl::Duration kStable = absl::Seconds(10);

  const absl::Duration least_;
  const absl::Duration most_;
  int deaths_ = 0;
};

}  // namespace baton::cli
