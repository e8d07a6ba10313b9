#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "common/base/status.h"
#include "common/base/strong_id.h"
#include "common/kv/block_hash.h"
#include "common/request/generated_token.h"
#include "common/request/sequence_spec.h"

// What an engine tells. All calls come on the engine thread and must not block: post and return.
namespace baton::engine {

// How a sequence spent its time so far; for usage, spans and the router's cost model.
struct SequenceTimes {
  absl::Duration queued;   // from Submit to admission
  absl::Duration prefill;  // from admission to the first token (hand-over included)
  int32_t prompt_tokens = 0;
  int32_t cached_tokens = 0;  // of the prompt, found in the prefix cache here
  int32_t preemptions = 0;
  int32_t prefill_chunks = 0;   // steps that computed prompt, again after a preemption too
  bool remote_prefill = false;  // the KV came from a prefill worker
};

struct SequenceOutput {
  SequenceId id;
  // With prompt_logprobs: the prompt's next tokens, in order, each once in a sequence's life; all
  // come before or with its first token.
  std::vector<GeneratedToken> prompt;
  std::vector<GeneratedToken> tokens;         // new in this step, usually one
  FinishReason finish = FinishReason::kNone;  // set in the last output of a sequence
  absl::Status status;                        // why, with kError
  SequenceTimes times;                        // complete with the first token; final with the last
};

// A remote prefill that may begin: the blocks are allocated and nobody else writes to them.
struct PrefillNeeded {
  SequenceSpec spec;
  uint64_t epoch = 0;       // unique in this process; a later attempt has another
  int32_t first_block = 0;  // index in the prompt's blocks of the first one that is missing
  std::vector<BlockId>
      blocks;  // destination blocks of prompt blocks first_block, first_block + 1, …
};

// KV of `layer` for some blocks of a prompt is final and readable (prefill side).
struct KvReady {
  SequenceId id;
  uint64_t epoch = 0;
  int32_t layer = 0;
  int32_t first_block = 0;      // index in the prompt's blocks
  std::vector<BlockId> blocks;  // where they lie in this worker's pool
};

struct PrefillDone {
  SequenceId id;
  uint64_t epoch = 0;
  absl::Status status;  // OK, CANCELLED, …; after an error no further KvReady comes
  GeneratedToken first;
  SequenceTimes times;
};

// Changes of the prefix cache, for the routers' KV index. Ordered: `number` grows by one per
// message.
struct KvEvents {
  struct Stored {
    kv::BlockHash hash;
    kv::BlockHash parent;  // all zero for a prompt's first block
  };
  uint64_t number = 0;
  bool snapshot = false;  // replaces everything said before
  std::vector<Stored> stored;
  std::vector<kv::BlockHash> removed;
};

// Step time as the engine has measured it: milliseconds = base + per_prefill_token * prefill tokens
// + per_decode * decoding sequences + per_context_token * tokens of context read. Online least
// squares.
struct StepFit {
  double base_ms = 0;
  double per_prefill_token_ms = 0;
  double per_decode_ms = 0;
  double per_context_token_ms = 0;
  double residual_ms = 0;  // root mean square of what the fit does not explain
  int64_t samples = 0;
};

// What steps of one kind did and took, since start. Differences say how fast it goes just now.
struct StepWork {
  int64_t steps = 0;
  int64_t tokens = 0;  // of prompts, or decoded
  int64_t context_tokens = 0;
  double ms = 0;
};

struct LoadReport {
  int32_t waiting = 0;  // sequences
  int32_t running = 0;
  int64_t waiting_tokens = 0;  // prompt tokens not yet computed, waiting and running
  int32_t blocks_total = 0;
  int32_t blocks_free = 0;
  int32_t blocks_cached = 0;  // reusable, evictable
  int32_t blocks_active = 0;
  int32_t blocks_quarantined = 0;
  int32_t blocks_replaced = 0;  // quarantined too, but a spare is in the pool instead
  int64_t steps = 0;
  int64_t preemptions = 0;
  int64_t prompt_tokens = 0;  // computed here since start
  int64_t cached_tokens = 0;  // found in the prefix cache since start
  int64_t output_tokens = 0;
  StepFit fit;
  StepWork prefill_work;  // of steps in which nobody decoded
  StepWork decode_work;   // of steps that only decoded
};

class Observer {
 public:
  virtual ~Observer() = default;
  virtual void OnStep(std::vector<SequenceOutput> outputs) = 0;  // once per step with news
  virtual void OnPrefillNeeded(PrefillNeeded needed) = 0;        // decode side
  virtual void OnKvReady(KvReady ready) = 0;                     // prefill side
  virtual void OnPrefillDone(PrefillDone done) = 0;              // prefill side
  virtual void OnKvEvents(KvEvents events) = 0;
  virtual void OnLoad(const LoadReport& load) = 0;  // every ~100 ms, and on going idle
};

}  // namespace baton::engine
