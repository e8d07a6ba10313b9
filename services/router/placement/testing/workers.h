#pragma once

#include <string>
#include <string_view>

#include "services/router/placement/policies.h"

// Hand-made snapshots, for the tests of this room: idle workers of one model that have measured
// themselves.
namespace baton::router {

inline WorkerState Worker(WorkerRole role, const std::string& id) {
  WorkerState state;
  state.profile = {.id = WorkerId(id),
                   .role = role,
                   .model = "m",
                   .fingerprint = "f",
                   .block_tokens = 16,
                   .num_blocks = 1000,
                   .batch_sequences_max = 8,
                   .kv_bytes_per_token = 1000,
                   .step_tokens_max = 512};
  state.load.engine.blocks_total = 1000;
  state.load.engine.blocks_free = 1000;
  state.load.engine.fit = {
      .base_ms = 1, .per_prefill_token_ms = 0.1, .per_decode_ms = 0.5, .samples = 100};
  return state;
}
inline WorkerState Decode(const std::string& id = "d0") { return Worker(WorkerRole::kDecode, id); }
inline WorkerState Prefill(const std::string& id = "p0") {
  return Worker(WorkerRole::kPrefill, id);
}

inline PlacementRequest Request(int32_t prompt_tokens, int32_t choices = 1) {
  return {.id = RequestId("r"), .prompt_tokens = prompt_tokens, .choices = choices};
}

inline Decision Decide(std::string_view policy, const PlacementRequest& request,
                       const PlacementSnapshot& snapshot) {
  return (*MakePolicy(policy, {}))->Decide(request, snapshot);
}

}  // namespace baton::router
