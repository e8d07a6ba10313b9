#pragma once

#include <deque>

#include "bench/simulation/simulated_cluster.h"

namespace baton::simulation {

// What the chart's HorizontalPodAutoscalers do without a planner: prompt tokens that wait per
// prefill worker, sequences per decode worker, by Kubernetes' rule (every 15 s, a tolerance of a
// tenth) and the chart's behaviour (up by 100 % or 2 in 30 s; down by one a minute to the most of a
// window).
class QueueDepthHpa : public PoolScaler {
 public:
  struct Options {
    double prefill_target = 4096;
    double decode_target = 32;
    int prefill_max = 8, decode_max = 8;
    absl::Duration window = absl::Minutes(5);
  };
  explicit QueueDepthHpa(const Options& options) : options_(options) {}

  Pools Decide(const std::vector<RouterPages>& routers, Pools now, absl::Duration at) override;

 private:
  struct Past {
    absl::Duration at;
    int value = 0;
  };
  struct Side {
    std::deque<Past> advice;  // of the window
    std::deque<Past> sizes;   // of the last minute
  };
  int Decide(Side& side, double depth, double target, int now, int max, absl::Duration at) const;

  const Options options_;
  absl::Duration next_;
  Side prefill_, decode_;
};

}  // namespace baton::simulation
