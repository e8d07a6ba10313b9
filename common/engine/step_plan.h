#pragma once

#include <cstdint>
#include <vector>

#include "common/base/strong_id.h"
#include "common/engine/sequence.h"

namespace baton::engine {

// One block between the pool and host memory.
struct BlockCopy {
  enum class Direction : uint8_t { kToHost, kToDevice };
  Direction direction;
  BlockId block;
  int32_t host_slot = 0;
};

// What one step does. A value; sequences are borrowed until the step is over.
struct StepPlan {
  struct Part {
    Sequence* sequence = nullptr;
    int32_t query_tokens = 0;
    int32_t computed = 0;  // of the sequence's tokens, once this part has run
    bool picks = false;    // leaves nothing pending, and so brings the next token
  };
  std::vector<BlockCopy> copies;    // first, in this order
  std::vector<Sequence*> awaiting;  // then tell: their remote prefill may begin
  std::vector<Part> parts;          // then run: decodes first, then chunks of prompts
  std::vector<Sequence*> admitted;  // left the queue just now, first time or again
  int32_t preempted = 0;

  int32_t decodes = 0;             // parts of one token
  int32_t prefill_tokens = 0;      // of all other parts
  int32_t prefill_tokens_max = 0;  // that there may be beside the decodes
  int64_t context_tokens = 0;      // read by attention, all parts
};

}  // namespace baton::engine
