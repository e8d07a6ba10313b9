#pragma once

#include <cstdint>

#include "common/base/status.h"
#include "common/engine/commands.h"
#include "common/engine/engine.h"
#include "common/model/model_runner.h"
#include "common/request/sequence_spec.h"

namespace baton::engine {

// What a sequence may be, for one model and one pool. Immutable: any thread may ask.
class SequenceLimits {
 public:
  SequenceLimits(const EngineOptions& options, const model::ModelInfo& info);

  // Prompt and output together, as the model and the pool allow.
  int32_t context_tokens_max() const;
  // INVALID_ARGUMENT when it could never run here, with the numbers.
  absl::Status Check(const SequenceSpec& spec) const;
  absl::Status Check(const SubmitPrefill& submit) const;

 private:
  int32_t vocab_;
  int32_t block_tokens_;
  int64_t model_tokens_;  // the model's context
  int64_t pool_tokens_;
};

}  // namespace baton::engine
