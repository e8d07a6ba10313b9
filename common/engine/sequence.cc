#include "common/engine/sequence.h"

#include <algorithm>
#include <utility>

// A generation:
//
//   Submit --(after a sibling)--> kFollowing
//     |                              | sibling has its first token, or is gone
//     v                              v
//   kWaiting --admitted: blocks for prompt and output so far------------------> kRunning --+
//     ^  |                                                                       ^   |     |
//     |  +--admitted, remote prefill, more than a block missing--> kAwaitingKv   |   |     |
//     |                                              |       |                   |   |     |
//     +--KvFailed: blocks freed if fenced,-----------+       +--KvArrived--------+   |     |
//     |  else quarantined; prefill is local now                                      |     |
//     +--preempted: blocks to the prefix cache, or copied to host slots (swapped)----+     |
//                                                                                          v
//   Cancel, deadline: from every state.  Stop token, max_tokens, context full: ------> finished
//   A sequence that ends in kAwaitingKv leaves its blocks in quarantine, under its epoch, until
//   KvArrived, KvFailed{fenced} or KvFenced of that epoch says that nothing writes to them any
//   more.
//
// A prefill for somebody else:
//
//   SubmitPrefill --> kWaiting --admitted--> kRunning --first token, Cancel, deadline-->
//   kHandedOver
//                        | Cancel, deadline     | ended before any block was told         | KvSent
//                        v                      v as ready                                v
//                      gone                   gone                                      gone
//
// Epochs: one per attempt at a remote prefill, never used again. A message about an epoch that is
// not the sequence's current one changes nothing but the quarantine of that epoch.

namespace baton::engine {

Sequence::Sequence(SequenceSpec the_spec, kv::BlockSpace& space, const model::ModelInfo& info,
                   int32_t context_tokens_max)
    : spec(std::move(the_spec)),
      tokens(spec.prompt),
      blocks(space),
      sampling(spec, info, context_tokens_max) {
  times.prompt_tokens = prompt_tokens();
  if (spec.sampling.prompt_logprobs) scores_wanted = prompt_tokens() - spec.resumed_tokens;
}

Sequence::Scores Sequence::ScoresOf(int32_t query_tokens, int32_t computed_before) const {
  const int32_t first = std::max(scores_told, 1);
  return {first, std::max(first, std::min(computed_before + query_tokens + 1, scores_wanted))};
}

int32_t Sequence::cacheable_tokens() const {
  // The last token is always computed: its logits pick the next one.
  if (scores_told >= scores_wanted) return num_tokens() - 1;
  return std::max(scores_told, 1) - 1;
}

}  // namespace baton::engine
