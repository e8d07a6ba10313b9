#pragma once

#include <functional>
#include <vector>

#include "services/router/placement/worker_state.h"

namespace baton::router {

// Whether a worker has become slow: what it does takes many times longer than it did before, and
// than it would take its equals. Both are asked, since a fit says little of steps unlike those it
// was made from; a worker that has always been slower than others is just that, and placement knows
// it. Looks at steps of its role's own kind, in windows of so much work. Plain data, one thread at
// a time.
class PaceWatch {
 public:
  struct Options {
    double slow_factor = 5;
    double window_ms = 500;  // of work
    int windows = 3;         // in a row
    // One that is slow is watched in windows of so many steps at most: a single request is enough
    // to prove the contrary.
    int64_t window_steps_when_slow = 32;
    int64_t samples_min = 16;  // steps behind a fit that something is compared with
  };
  explicit PaceWatch(WorkerRole role) : PaceWatch(role, Options()) {}
  PaceWatch(WorkerRole role, const Options& options) : options_(options), role_(role) {}

  enum class News : uint8_t { kNone, kSlow, kWellAgain };
  // A load report has come. `equals` is asked now and then: the fits of workers that do the same
  // work with the same weights.
  News OnReport(const engine::LoadReport& load,
                const std::function<std::vector<engine::StepFit>()>& equals);
  bool slow() const { return slow_; }
  // Of the last window: times as long as its equals would have taken.
  double factor() const { return factor_; }

 private:
  double Predict(const engine::StepFit& fit, const engine::StepWork& work) const;
  // Times as long as before and as its equals, whichever is less. 0: there is nothing to compare
  // with.
  double Judge(const engine::StepWork& work, std::vector<engine::StepFit> equals) const;

  Options options_;
  WorkerRole role_;
  engine::StepWork begin_;    // of this window
  engine::StepFit fit_well_;  // from when it was last found well
  int slow_windows_ = 0;
  bool slow_ = false;
  double factor_ = 0;
};

}  // namespace baton::router
