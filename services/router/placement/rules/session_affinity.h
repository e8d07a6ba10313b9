#pragma once

#include "services/router/placement/rule.h"

namespace baton::router {

// When a session's own worker is passed over.
struct AffinityOptions {
  // A worker may have so many times the sequences of the average worker, ...
  double load_factor_max = 1.25;
  // ... and so many more: with few requests about, one or two more are no imbalance.
  int32_t spare_sequences = 4;
};

// A session's requests go to the same worker, chosen by rendezvous hashing: each pair of session
// and worker has a fixed random score, and the highest wins. A worker that joins takes its share of
// the sessions and moves no other; one that leaves gives up its own only. Loads are bounded: where
// the winner is much more loaded than the average, the next by score takes the request, the same
// one every time. Routers agree without talking: scores are of ids alone.
class SessionAffinityRule : public Rule {
 public:
  explicit SessionAffinityRule(const AffinityOptions& options) : options_(options) {}

  const WorkerState* Pick(const PlacementRequest& request, const Workers& workers) override;

 private:
  const AffinityOptions options_;
};

}  // namespace baton::router
