#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "common/base/strong_id.h"
#include "common/request/sampling_params.h"

namespace baton {

// What a worker needs to know to generate one sequence. Owns its bytes.
struct SequenceSpec {
  SequenceId id;
  std::vector<int32_t> prompt;  // token ids, at least one
  SamplingParams sampling;      // max_tokens and seed resolved (never absent)
  // Tokens of the prompt that are in truth earlier output of the same sequence (a continued one):
  // they count for penalties and for the seed's draw index, not for usage.
  int32_t resumed_tokens = 0;
  int32_t priority = 0;  // smaller is more urgent; [-100, 100]
  // From its submission on; beyond it the sequence ends as kError.
  absl::Duration time_left = absl::InfiniteDuration();
  std::string traceparent;  // W3C trace context, may be empty
};

}  // namespace baton
