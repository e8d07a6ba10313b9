#include "common/engine/sequence.h"

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
}

}  // namespace baton::engine
