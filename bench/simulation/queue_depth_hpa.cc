#include "bench/simulation/queue_depth_hpa.h"

#include <algorithm>
#include <cmath>

#include "common/base/check.h"
#include "services/planner/watch/router_page.h"

namespace baton::simulation {
namespace {

constexpr absl::Duration kEvery = absl::Seconds(15);
constexpr double kTolerance = 0.1;

}  // namespace

Pools QueueDepthHpa::Decide(const std::vector<RouterPages>& routers, Pools now, absl::Duration at) {
  if (at < next_) return now;
  next_ = at + kEvery;
  double tokens = 0, sequences = 0;
  for (const RouterPages& pages : routers) {
    const auto router = planner::ReadRouter(pages.cluster, pages.metrics);
    CHECK_OK(router.status());
    sequences += static_cast<double>(router->queued_requests);
    if (&pages != &routers.front()) continue;  // all routers know all workers
    for (const planner::WorkerSample& worker : router->workers) {
      const bool prefill = worker.pool == planner::Pool::kPrefill;
      if (prefill) tokens += static_cast<double>(worker.waiting_tokens);
      if (!prefill) sequences += worker.running + worker.waiting;
    }
  }
  return {Decide(prefill_, tokens, options_.prefill_target, now.prefill, options_.prefill_max, at),
          Decide(decode_, sequences, options_.decode_target, now.decode, options_.decode_max, at)};
}

int QueueDepthHpa::Decide(Side& side, double depth, double target, int now, int max,
                          absl::Duration at) const {
  const double ratio = depth / (target * now);
  const bool enough = std::abs(ratio - 1) <= kTolerance;
  const int advised =
      std::clamp(enough ? now : static_cast<int>(std::ceil(depth / target)), 1, max);
  side.advice.push_back({at, advised});
  while (side.advice.front().at < at - options_.window) side.advice.pop_front();
  side.sizes.push_back({at, now});
  while (side.sizes.front().at < at - absl::Seconds(60)) side.sizes.pop_front();
  if (advised > now) {
    int half_a_minute_ago = now;
    for (const Past& past : side.sizes) {
      if (past.at >= at - absl::Seconds(30))
        half_a_minute_ago = std::min(half_a_minute_ago, past.value);
    }
    return std::max(now, std::min(advised, std::max(2 * half_a_minute_ago, half_a_minute_ago + 2)));
  }
  int most = advised, minute_ago = now;
  for (const Past& past : side.advice) most = std::max(most, past.value);
  for (const Past& past : side.sizes) minute_ago = std::max(minute_ago, past.value);
  return std::min(now, std::max(most, minute_ago - 1));
}

}  // namespace baton::simulation
