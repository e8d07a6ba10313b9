#pragma once

#include <cstdint>
#include <optional>
#include <variant>
#include <vector>

#include "absl/time/time.h"
#include "common/base/status.h"
#include "common/base/strong_id.h"
#include "common/request/generated_token.h"
#include "common/request/sequence_spec.h"

// What other threads may ask of an engine. Plain values that own their bytes, posted to its mailbox
// and taken once per step.
namespace baton::engine {

// Generate a sequence, prompt included.
struct Submit {
  SequenceSpec spec;
  // The prompt is computed elsewhere: the engine allocates blocks, calls OnPrefillNeeded and waits
  // for KvArrived or KvFailed. The engine still prefills locally when the uncached rest is one
  // block or less, when the prompt's log-probabilities are wanted (they are made where the prompt
  // is computed, and a hand-over carries K and V only), and when nothing is to be generated.
  bool remote_prefill = false;
  // With remote_prefill: the engine computes the prompt itself after all, unless the prompts ahead
  // of it, when its turn comes, would take longer than this here. Negative: it does not consider
  // it.
  absl::Duration local_wait_max = -absl::InfiniteDuration();
  // A sibling (another choice of the same request) whose prompt this one shares: it is admitted
  // once the sibling's prompt is in the prefix cache, and then finds all but the last block there.
  std::optional<SequenceId> after;
  // False: nobody's request, and its tokens are in no total.
  bool counted = true;
};

// Compute a prompt for somebody else and hand its KV over (prefill worker). Ends with
// OnPrefillDone.
struct SubmitPrefill {
  SequenceSpec spec;
  uint64_t epoch = 0;
  int32_t first_block = 0;  // blocks of the prompt before this one are at the destination already;
                            // at least the last one is not
};

// Ends a sequence or a prefill, in whatever state, within one step. Unknown ids are ignored.
struct Cancel {
  SequenceId id;
};

// Decode side: every missing block has arrived and was verified, and no write of this epoch can
// land any more. `first` is the token the prefill worker sampled. If `epoch` is not the sequence's
// current one (any more), only that epoch's quarantine ends.
struct KvArrived {
  SequenceId id;
  uint64_t epoch = 0;
  GeneratedToken first;
};

// Decode side: the hand-over failed. The sequence goes on with a local prefill in fresh blocks.
// With `fenced` the old blocks can be reused at once (no write can be under way any more); without,
// they stay quarantined until KvFenced.
struct KvFailed {
  SequenceId id;
  uint64_t epoch = 0;
  absl::Status reason;
  bool fenced = false;
};

// No write of this epoch can land any more: its quarantined blocks are free again.
struct KvFenced {
  uint64_t epoch = 0;
};

// Prefill side: the puts of this hand-over are over (or failed); its blocks may be reused. Until
// then the engine keeps them, even after Cancel; unless no OnKvReady was ever called, then there is
// nothing to keep and this need not come. When it comes early, no further OnKvReady follows.
struct KvSent {
  SequenceId id;
  uint64_t epoch = 0;
};

// Ask for a full KV event snapshot (a router noticed a gap or has just connected): the next
// OnKvEvents has `snapshot` set and lists everything cached.
struct SendSnapshot {};

// What a draining engine takes no more of.
enum class Refuse : uint8_t {
  kGenerations,  // it still computes and hands over prompts: those it has in its cache, above all
  kEverything,
};

using Command = std::variant<Submit, SubmitPrefill, Cancel, KvArrived, KvFailed, KvFenced, KvSent,
                             SendSnapshot>;

}  // namespace baton::engine
