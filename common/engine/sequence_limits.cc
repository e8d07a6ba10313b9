#include "common/engine/sequence_limits.h"

#include <algorithm>

namespace baton::engine {

SequenceLimits::SequenceLimits(const EngineOptions& options, const model::ModelInfo& info)
    : vocab_(info.vocab),
      block_tokens_(options.block_tokens),
      model_tokens_(info.context_tokens_max),
      pool_tokens_(int64_t{options.num_blocks} * options.block_tokens) {}

int32_t SequenceLimits::context_tokens_max() const {
  return static_cast<int32_t>(std::min(model_tokens_, pool_tokens_));
}

absl::Status SequenceLimits::Check(const SequenceSpec& spec) const {
  if (spec.prompt.empty()) return InvalidArgument("prompt has no tokens");
  const int64_t tokens = static_cast<int64_t>(spec.prompt.size());
  const bool generates = spec.sampling.max_tokens != 0;
  if (!generates && tokens > std::min(model_tokens_, pool_tokens_)) {
    return InvalidArgument("prompt has {} tokens, the context and the KV cache hold {}", tokens,
                           std::min(model_tokens_, pool_tokens_));
  }
  if (generates && tokens + 1 > model_tokens_) {
    return InvalidArgument("prompt has {} tokens; with one more they exceed the context of {}",
                           tokens, model_tokens_);
  }
  if (generates && tokens + 1 > pool_tokens_) {
    return InvalidArgument(
        "prompt has {} tokens; with one more they exceed the KV cache of {} tokens", tokens,
        pool_tokens_);
  }
  const auto stranger = std::find_if(spec.prompt.begin(), spec.prompt.end(), [this](int32_t token) {
    return token < 0 || token >= vocab_;
  });
  if (stranger != spec.prompt.end()) {
    return InvalidArgument("prompt holds token {}, but the vocabulary has ids 0 to {}", *stranger,
                           vocab_ - 1);
  }
  if (spec.resumed_tokens < 0 || spec.resumed_tokens > tokens) {
    return InvalidArgument("resumed_tokens is {}, the prompt has {} tokens", spec.resumed_tokens,
                           tokens);
  }
  return spec.sampling.Validate(vocab_);
}

absl::Status SequenceLimits::Check(const SubmitPrefill& submit) const {
  const int64_t tokens = static_cast<int64_t>(submit.spec.prompt.size());
  const int64_t blocks = (tokens + block_tokens_ - 1) / block_tokens_;
  RETURN_IF_ERROR(Check(submit.spec));
  if (submit.spec.sampling.max_tokens == 0) {
    return InvalidArgument("max_tokens is 0: there is no first token to hand over");
  }
  if (submit.first_block >= 0 && submit.first_block < blocks) return absl::OkStatus();
  return InvalidArgument("first_block is {}, the prompt has {} blocks", submit.first_block, blocks);
}

}  // namespace baton::engine
