#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "common/model/model_runner.h"
#include "common/request/generated_token.h"
#include "common/request/sequence_spec.h"
#include "kernels/sampling.h"

namespace baton::engine {

// What sampling must remember of one sequence, and when the sequence ends. A function of the tokens
// so far alone, so that it is the same after preemption, hand-over and migration. Not copyable:
// arguments point into it.
//
// min_tokens and max_tokens count the tokens generated here; resumed ones count for penalties and
// draws.
class SamplingState {
 public:
  // `context_tokens_max`: prompt and output together; the sequence ends as kLength when it is full.
  SamplingState(const SequenceSpec& spec, const model::ModelInfo& info, int32_t context_tokens_max);
  SamplingState(const SamplingState&) = delete;
  SamplingState& operator=(const SamplingState&) = delete;

  // Arguments for the next token, taken from row `row` of the logits, or for the one after `ahead`
  // tokens that are not known yet. Valid until Add().
  kernels::SampleArgs ArgsFor(int32_t row, int32_t ahead = 0) const;
  // Whether they are the same whatever the tokens before it are, and a device can do all that they
  // ask for by itself: nothing changes the logits, and only a token is wanted.
  bool can_look_ahead() const {
    return !counts_outputs_ && args_.num_logprobs < 0 && logit_bias_.empty() &&
           (num_outputs_ >= min_tokens_ || stops_.empty());
  }
  // Whether the token after `ahead` others is the last one, whatever it is.
  bool EndsWithNext(int32_t ahead) const { return num_outputs_ + ahead + 1 >= max_tokens_; }
  // Takes note of the next token. Says whether and how the sequence ends with it.
  FinishReason Add(int32_t token);

  int32_t num_outputs() const { return num_outputs_; }
  // False: the prompt is all there is to it, no token is ever to be picked.
  bool generates() const { return max_tokens_ > 0; }

 private:
  void Count(int32_t token);

  kernels::SampleArgs args_;  // what does not change; without spans
  std::vector<std::pair<int32_t, float>> logit_bias_;
  std::vector<int32_t> stops_;        // sorted
  std::vector<int32_t> prompt_seen_;  // sorted; only when a repetition penalty asks for it
  std::vector<std::pair<int32_t, int32_t>>
      output_counts_;  // sorted; only when a penalty asks for it
  bool counts_outputs_ = false;
  int32_t min_tokens_ = 0;
  int32_t max_tokens_ = 0;  // context limit included
  int32_t num_outputs_ = 0;
};

// `num_logprobs` as it was asked for.
GeneratedToken ToGeneratedToken(const kernels::SampledToken& sampled, int32_t num_logprobs);

}  // namespace baton::engine
