#pragma once

#include "services/planner/sizing/picture.h"

namespace baton::planner {

// A cluster of a medium model in round figures, with nobody on it.
inline Picture MediumPicture() {
  const PoolState pool{.fit = {.base_ms = 8,
                               .per_prefill_token_ms = 0.06,
                               .per_decode_ms = 0.08,
                               .per_context_token_ms = 0.00002,
                               .samples = 1000},
                       .blocks = 24'000,
                       .block_tokens = 16,
                       .batch_sequences_max = 64,
                       .step_tokens_max = 2048};
  return {.prefill = pool, .decode = pool};
}

inline Traffic Chats(double requests_per_second) {
  return {.requests_per_second = requests_per_second, .prompt_tokens = 2000, .output_tokens = 200};
}

}  // namespace baton::planner
