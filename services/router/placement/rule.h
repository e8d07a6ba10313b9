#pragma once

#include <algorithm>
#include <vector>

#include "services/router/placement/policy.h"

namespace baton::router {

// How a RulePolicy picks a worker: the one thing in which the simple policies differ. Each policy
// has one for decode and another one for prefill workers, so that these take turns independently
// of each other. Called by one thread at a time.
class Rule {
 public:
  virtual ~Rule() = default;
  // One of `workers`, which are at least one, in the order of their ids, and all fit to take it.
  virtual const WorkerState* Pick(const PlacementRequest& request, const Workers& workers) = 0;
  // What was picked gets the request (a prefill worker does not when the prompt stays local). For
  // rules that remember.
  virtual void OnTaken(const WorkerState& worker) {}
};

// The least by `Key`, a function of (request, worker); of equal ones the first.
template <typename Key>
class LeastRule : public Rule {
 public:
  const WorkerState* Pick(const PlacementRequest& request, const Workers& workers) override {
    return *std::min_element(workers.begin(), workers.end(),
                             [&](const WorkerState* a, const WorkerState* b) {
                               return Key()(request, *a) < Key()(request, *b);
                             });
  }
};

}  // namespace baton::router
