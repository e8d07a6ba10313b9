#pragma once

#include <random>

#include "services/router/placement/rule.h"

namespace baton::router {

// Any, all equally often.
class RandomRule : public Rule {
 public:
  explicit RandomRule(uint64_t seed) : dice_(seed) {}

  const WorkerState* Pick(const PlacementRequest&, const Workers& workers) override {
    return workers[dice_() % workers.size()];
  }

 private:
  std::mt19937_64 dice_;
};

}  // namespace baton::router
