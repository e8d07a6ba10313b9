#pragma once

#include <utility>
#include <vector>

#include "services/router/placement/policy.h"
#include "services/router/placement/tie_dice.h"

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

// The least by `Key`, a function of (request, worker); of equal ones any, or without dice the
// first.
template <typename Key>
class LeastRule : public Rule {
 public:
  explicit LeastRule(TieDice dice = TieDice()) : dice_(dice) {}

  const WorkerState* Pick(const PlacementRequest& request, const Workers& workers) override {
    const WorkerState* least = workers.front();
    auto least_key = Key()(request, *least);
    uint64_t equals = 1;
    for (size_t i = 1; i < workers.size(); ++i) {
      auto key = Key()(request, *workers[i]);
      if (least_key < key) continue;
      equals = key < least_key ? 1 : equals + 1;
      if (equals > 1 && !dice_.TakesNth(equals)) continue;
      least = workers[i];
      least_key = std::move(key);
    }
    return least;
  }

 private:
  TieDice dice_;
};

}  // namespace baton::router
