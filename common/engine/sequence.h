#pragma once

#include <cstdint>
#include <vector>

#include "absl/time/time.h"
#include "common/engine/observer.h"
#include "common/engine/sampling_state.h"
#include "common/kv/block_table.h"
#include "common/request/sequence_spec.h"

namespace baton::engine {

// Where a sequence stands; drawn in sequence.cc.
enum class SequenceState : uint8_t {
  kFollowing,   // waits for its sibling's prompt
  kWaiting,     // in the queue; holds no blocks (if swapped: host slots)
  kAwaitingKv,  // its prompt is computed elsewhere; holds blocks that others write to
  kRunning,     // in the batch; holds blocks
  kHandedOver,  // prefill side: done or ended, its blocks are still being read by the transfer
};

// One generation, or one prefill for somebody else. Owned by the engine core, touched by its thread
// only.
struct Sequence {
  Sequence(SequenceSpec spec, kv::BlockSpace& space, const model::ModelInfo& info,
           int32_t context_tokens_max);
  Sequence(const Sequence&) = delete;
  Sequence& operator=(const Sequence&) = delete;

  // More urgent first: by priority, then arrival.
  bool Before(const Sequence& other) const {
    if (spec.priority != other.spec.priority) return spec.priority < other.spec.priority;
    return arrival < other.arrival;
  }
  int32_t num_tokens() const { return static_cast<int32_t>(tokens.size()); }
  int32_t prompt_tokens() const { return static_cast<int32_t>(spec.prompt.size()); }
  // Tokens whose K and V are not yet written, nor are in a step under way: 1 when decoding, more
  // when prefilling, none while its last token of all is to come.
  int32_t pending_tokens() const { return num_tokens() - num_computed; }
  bool has_first_token() const { return sampling.num_outputs() > 0; }
  bool swapped() const { return !host_slots.empty(); }

  // Prompt tokens [first, last) whose log-probabilities are wanted and not told yet, and that
  // `query_tokens` tokens behind `computed_before` bring: the logits of a token score the one after
  // it. The first token of all is never among them: nothing comes before it.
  struct Scores {
    int32_t first = 0;
    int32_t last = 0;
  };
  Scores ScoresOf(int32_t query_tokens, int32_t computed_before) const;
  // The last token is one that a step under way is going to pick.
  bool last_token_to_come() const { return tokens.back() < 0; }
  // So many tokens at the beginning may come from a cache: of those that follow, logits are wanted.
  int32_t cacheable_tokens() const;

  SequenceSpec spec;
  uint64_t arrival = 0;  // order of submission
  // Monotonic; beyond it the sequence ends as kError.
  absl::Duration deadline = absl::InfiniteDuration();
  SequenceState state = SequenceState::kWaiting;
  std::vector<int32_t> tokens;  // prompt, then output; below 0: model::TokenToCome()
  int32_t num_computed = 0;     // K and V of the first so many tokens are in `blocks` (or host),
                                // or will be when the steps under way are done
  kv::BlockTable blocks;
  std::vector<int32_t> host_slots;  // where the first blocks lie while swapped out
  SamplingState sampling;
  // Prompt tokens whose log-probabilities are wanted, and how many of these were told. Survives
  // preemption, so that what is computed again is not told again.
  int32_t scores_wanted = 0;
  int32_t scores_told = 0;
  int32_t steps_under_way = 0;  // that it has a part in
  bool ended = false;           // and told so; it stays as long as steps write to its blocks
  bool counted = true;          // in the totals
  bool queued = true;           // counted by the admission gate as waiting

  // Hand-over, either side.
  bool remote_prefill = false;  // decode side: wanted
  // Decode side, not remote_prefill: becomes so when the prompts ahead of it take longer than this.
  absl::Duration local_wait_max = absl::InfiniteDuration();
  bool prefill_only = false;  // prefill side
  bool fenced = false;        // decode side: no write of `epoch` can land any more
  uint64_t epoch = 0;
  int32_t first_block = 0;  // decode: first one others write; prefill: next one to hand over
  bool sending = false;     // prefill side: blocks were told as ready, KvSent has not come
  bool sent = false;        // prefill side: KvSent has come

  absl::Duration submitted_at;  // monotonic
  absl::Duration admitted_at;
  SequenceTimes times;
};

}  // namespace baton::engine
