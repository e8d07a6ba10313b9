#include "services/router/placement/rules/session_affinity.h"

#include <cstdint>

#include "common/base/check.h"
#include "services/router/placement/session_key.h"

namespace baton::router {

const WorkerState* SessionAffinityRule::Pick(const PlacementRequest& request,
                                             const Workers& workers) {
  int64_t sequences = 0;
  for (const WorkerState* worker : workers) sequences += worker->sequences();
  const double load_max = options_.load_factor_max * static_cast<double>(sequences) /
                              static_cast<double>(workers.size()) +
                          options_.spare_sequences;
  const WorkerState* best = nullptr;
  uint64_t best_score = 0;
  for (const WorkerState* worker : workers) {
    if (worker->sequences() > load_max) continue;
    const uint64_t score = MixKeys(request.session, KeyOf(worker->profile.id.value()));
    if (best != nullptr && score <= best_score) continue;
    best = worker;
    best_score = score;
  }
  CHECK(best != nullptr, "every one of {} workers is above their average", workers.size());
  return best;
}

}  // namespace baton::router
