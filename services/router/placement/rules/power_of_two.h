#pragma once

#include <random>

#include "services/router/placement/rules/least_queued.h"

namespace baton::router {

// The less queued of two drawn at random: nearly as even as asking all, and several routers with
// the same stale picture do not run to the same worker.
class PowerOfTwoRule : public Rule {
 public:
  explicit PowerOfTwoRule(uint64_t seed) : dice_(seed) {}

  const WorkerState* Pick(const PlacementRequest& request, const Workers& workers) override {
    const size_t one = dice_() % workers.size();
    if (workers.size() == 1) return workers[one];
    const size_t other = (one + 1 + dice_() % (workers.size() - 1)) % workers.size();
    return queue_(request, *workers[other]) < queue_(request, *workers[one]) ? workers[other]
                                                                             : workers[one];
  }

 private:
  const QueueKey queue_{};
  std::mt19937_64 dice_;
};

}  // namespace baton::router
