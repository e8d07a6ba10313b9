#pragma once

#include <cstdint>

#include "services/router/placement/worker_state.h"

// Can a request begin on a decode worker soon? What cannot waits in the router, where its turn may
// still change.
namespace baton::router {

// What a request takes up on its decode worker.
struct Demand {
  int32_t sequences = 1;
  int64_t tokens = 0;          // of its prompt, to be computed there
  int64_t tokens_missing = 0;  // of its prompt, to be computed there or elsewhere: need blocks
};

// Sequences that a worker is given: its batch, and so many percent more, rounded up, to follow at
// once. 0: it stated no limit.
int32_t SequencesMax(const WorkerProfile& profile, int32_t batch_ahead_percent);
// Are there so many places beside those that are taken? A request of more sequences than a worker
// is ever given has to have it to itself.
bool HasPlaces(int32_t sequences_max, int32_t taken, int32_t sequences);
// And in the worker's queue, and blocks for its prompt; a few may wait for these on the worker.
// Going by the last report.
bool HasRoom(const WorkerState& worker, const Demand& demand, int32_t batch_ahead_percent);
// For what is missing of its prompt, and one per sequence to go on with.
int32_t BlocksFor(const WorkerProfile& profile, const Demand& demand);

}  // namespace baton::router
