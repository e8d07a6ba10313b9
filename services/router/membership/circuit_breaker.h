#pragma once

#include <cstdint>
#include <random>

#include "absl/time/time.h"

namespace baton::router {

// Keeps work away from a worker that fails again and again, and lets it prove itself:
//
//   closed --failures in a row--> open --pause over--> on trial --success--> closed
//                                   ^--------------------failure, or no word--'   (a longer pause)
//
// Pauses are jittered: routers that saw the same failures do not try at the same moment. Plain
// data, one thread at a time; times are monotonic.
class CircuitBreaker {
 public:
  struct Options {
    int failures_max = 3;  // in a row; wrong bytes count as so many
    absl::Duration pause_min = absl::Seconds(1);
    absl::Duration pause_max = absl::Seconds(30);  // doubles up to here
    double jitter = 0.2;                           // of a pause, either way
    absl::Duration trial_max = absl::Seconds(10);  // without a word: as a failure
  };
  CircuitBreaker(const Options& options, uint64_t seed) : options_(options), random_(seed) {}

  // May it be given work now?
  bool Allows(absl::Duration now) const;
  // Not closed: it is out, or on trial.
  bool tripped() const { return open_; }
  bool on_trial() const { return on_trial_; }
  // It was given work.
  void OnPlaced(absl::Duration now);
  // True: this closes it.
  bool OnSuccess();
  // True: this opens it, once more or for the first time.
  bool OnFailure(int weight, absl::Duration now);

 private:
  void Open(absl::Duration now);

  Options options_;
  std::minstd_rand random_;
  int failures_ = 0;  // in a row
  bool open_ = false;
  bool on_trial_ = false;    // open, and given something to prove itself with
  absl::Duration pause_;     // the last one
  absl::Duration try_from_;  // open: work again from here; on trial: another one from here
};

}  // namespace baton::router
