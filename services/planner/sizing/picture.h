#pragma once

#include <cstdint>
#include <string_view>

#include "common/engine/observer.h"

namespace baton::planner {

// The two kinds of workers, each scaled by itself.
enum class Pool : uint8_t { kPrefill, kDecode };

constexpr std::string_view NameOf(Pool pool) {
  return pool == Pool::kPrefill ? "prefill" : "decode";
}

// What clients send, averaged over some stretch of time. Finite, never negative.
struct Traffic {
  double requests_per_second = 0;
  double prompt_tokens = 0;  // of a request
  double cached_share = 0;   // of prompt tokens, found in a prefix cache; 0 … 1
  double output_tokens = 0;  // of a request
};

// One pool as it is now, all of its workers together.
struct PoolState {
  int32_t workers = 0;  // that may take work
  int32_t present =
      0;  // with those that hang, failed or cannot be reached; without those that leave
  // Step time of one of them, the mean of those that have measured themselves; also remembered from
  // when there were some. samples == 0: not known.
  engine::StepFit fit;
  int64_t waiting_tokens = 0;  // prompt tokens taken on and not computed
  int32_t running = 0;         // sequences
  int32_t waiting = 0;         // sequences that have no place yet
  int64_t blocks_active = 0;   // KV blocks in use
  // Of one worker; 0: not known.
  int32_t blocks = 0;
  int32_t block_tokens = 0;
  int32_t batch_sequences_max = 0;
  int32_t step_tokens_max = 0;
};

// All that a plan is made from. A plain value.
struct Picture {
  Traffic recent;  // over the last seconds: for more workers
  Traffic steady;  // over the last minute or so: with `recent`, for fewer
  PoolState prefill;
  PoolState decode;
  int64_t queued_requests = 0;  // in the routers
  int64_t queued_tokens = 0;    // of their prompts
  // Somebody asked lately for what nobody serves.
  bool unserved = false;
  // A decode step takes so many times what the workers' own fit says, by what routers see between
  // tokens; at least 1.
  double pace = 1;
  // Not every router answered: too little may be known to take workers away.
  bool partial = false;
};

}  // namespace baton::planner
