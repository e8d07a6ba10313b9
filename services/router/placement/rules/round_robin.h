#pragma once

#include "services/router/placement/rule.h"

namespace baton::router {

// In turn, by id: the one after the last that took a request. So workers that come, go or are full
// for a while change nobody else's turn.
class RoundRobinRule : public Rule {
 public:
  const WorkerState* Pick(const PlacementRequest&, const Workers& workers) override {
    const auto next = std::upper_bound(
        workers.begin(), workers.end(), last_,
        [](const WorkerId& last, const WorkerState* worker) { return last < worker->profile.id; });
    return next == workers.end() ? workers.front() : *next;
  }
  void OnTaken(const WorkerState& worker) override { last_ = worker.profile.id; }

 private:
  WorkerId last_;  // empty, before every id, at first
};

}  // namespace baton::router
