#include "services/router/placement/room.h"

#include <algorithm>

#include "services/router/placement/policy.h"

namespace baton::router {

int32_t SequencesMax(const WorkerProfile& profile, int32_t batch_ahead_percent) {
  const int64_t batch = profile.batch_sequences_max;
  return static_cast<int32_t>(batch + (batch * batch_ahead_percent + 99) / 100);
}

bool HasPlaces(int32_t sequences_max, int32_t taken, int32_t sequences) {
  return sequences_max <= 0 || taken + std::min(sequences, sequences_max) <= sequences_max;
}

bool HasRoom(const WorkerState& worker, const Demand& demand, int32_t batch_ahead_percent) {
  const int32_t sequences_max = SequencesMax(worker.profile, batch_ahead_percent);
  if (!HasPlaces(sequences_max, worker.taken_sequences(), demand.sequences)) return false;
  if (worker.taken_sequences() == 0) return true;
  if (Full(worker, demand.sequences, static_cast<int32_t>(demand.tokens_missing))) return false;
  const engine::LoadReport& load = worker.load.engine;
  if (load.blocks_total <= 0) return true;
  const int32_t blocks = BlocksFor(worker.profile, demand) + worker.added_blocks;
  if (blocks <= load.blocks_free + load.blocks_cached) return true;
  const int32_t ahead = sequences_max - worker.profile.batch_sequences_max;
  return load.waiting + worker.added_sequences + demand.sequences <= ahead;
}

int32_t BlocksFor(const WorkerProfile& profile, const Demand& demand) {
  const int64_t block_tokens = std::max(1, profile.block_tokens);
  const int64_t missing = std::max<int64_t>(0, demand.tokens_missing);
  return static_cast<int32_t>((missing + block_tokens - 1) / block_tokens) + demand.sequences;
}

}  // namespace baton::router
