#include "services/router/placement/policy.h"

#include "common/base/check.h"

namespace baton::router {

bool MayBePaired(const WorkerState& decode, const WorkerState& prefill) {
  return prefill.profile.block_tokens == decode.profile.block_tokens &&
         prefill.profile.model == decode.profile.model &&
         prefill.profile.fingerprint == decode.profile.fingerprint;
}

bool Full(const WorkerState& worker, int32_t sequences, int32_t prompt_tokens) {
  const WorkerProfile& profile = worker.profile;
  const int32_t waiting = worker.load.engine.waiting + worker.added_sequences;
  if (profile.waiting_sequences_max > 0) {
    const int32_t held = profile.batch_sequences_max + profile.waiting_sequences_max;
    if (worker.load.engine.waiting >= profile.waiting_sequences_max) return true;
    if (worker.sequences() + sequences > held) return true;
  }
  // A prompt longer than the whole queue is let in where nothing else waits.
  return profile.waiting_tokens_max > 0 && waiting > 0 &&
         worker.queued_tokens() + prompt_tokens > profile.waiting_tokens_max;
}

Workers DecodeTakers(const PlacementRequest& request, const PlacementSnapshot& snapshot) {
  CHECK(!snapshot.decode.empty(), "no decode worker to choose from");
  Workers takers;
  takers.reserve(snapshot.decode.size());
  for (const bool crowded : {false, true}) {
    for (const WorkerState& worker : snapshot.decode) {
      if (worker.crowded != crowded) continue;
      if (!Full(worker, request.choices, request.prompt_tokens)) takers.push_back(&worker);
    }
    if (!takers.empty()) return takers;
  }
  for (const WorkerState& worker : snapshot.decode) takers.push_back(&worker);
  return takers;
}

Workers PrefillTakers(const PlacementRequest& request, const WorkerState& decode,
                      const PlacementSnapshot& snapshot) {
  Workers takers;
  takers.reserve(snapshot.prefill.size());
  for (const WorkerState& worker : snapshot.prefill) {
    if (!MayBePaired(decode, worker) || Full(worker, 1, request.prompt_tokens)) continue;
    takers.push_back(&worker);
  }
  return takers;
}

bool NearlyCached(const WorkerState& decode, const PlacementRequest& request) {
  const int32_t held = decode.held_tokens();
  return held > 0 && request.prompt_tokens - held <= decode.profile.block_tokens;
}

}  // namespace baton::router
