#include "common/engine/sampling_state.h"

#include <algorithm>
#include <span>

#include "common/base/check.h"

namespace baton::engine {
namespace {

void SortAndDeduplicate(std::vector<int32_t>& tokens) {
  std::sort(tokens.begin(), tokens.end());
  tokens.erase(std::unique(tokens.begin(), tokens.end()), tokens.end());
}

kernels::SampleArgs FixedArgs(const SequenceSpec& spec) {
  const SamplingParams& params = spec.sampling;
  kernels::SampleArgs args;
  args.temperature = params.temperature;
  args.top_k = params.top_k;
  args.top_p = params.top_p;
  args.min_p = params.min_p;
  args.repetition_penalty = params.repetition_penalty;
  args.presence_penalty = params.presence_penalty;
  args.frequency_penalty = params.frequency_penalty;
  args.seed = params.seed.value_or(0);
  args.draw = static_cast<uint64_t>(spec.resumed_tokens);
  args.num_logprobs = params.logprobs.value_or(-1);
  return args;
}

}  // namespace

SamplingState::SamplingState(const SequenceSpec& spec, const model::ModelInfo& info,
                             int32_t context_tokens_max)
    : args_(FixedArgs(spec)),
      logit_bias_(spec.sampling.logit_bias),
      stops_(spec.sampling.stop_token_ids),
      min_tokens_(spec.sampling.min_tokens) {
  const SamplingParams& params = spec.sampling;
  const int32_t prompt_tokens = static_cast<int32_t>(spec.prompt.size());
  const int32_t room = context_tokens_max - prompt_tokens;
  max_tokens_ = std::min(params.max_tokens.value_or(room), room);
  CHECK(room >= 1 || (room == 0 && params.max_tokens == 0),
        "a prompt of {} tokens in a context of {}", prompt_tokens, context_tokens_max);
  if (!params.ignore_eos) {
    stops_.insert(stops_.end(), info.eos_token_ids.begin(), info.eos_token_ids.end());
  }
  SortAndDeduplicate(stops_);

  const std::span<const int32_t> prompt(spec.prompt);
  const size_t first_resumed = prompt.size() - spec.resumed_tokens;
  const bool repetition = params.repetition_penalty != 1.0f;
  if (repetition) {
    prompt_seen_.assign(prompt.begin(), prompt.begin() + first_resumed);
    SortAndDeduplicate(prompt_seen_);
  }
  counts_outputs_ =
      repetition || params.presence_penalty != 0.0f || params.frequency_penalty != 0.0f;
  for (int32_t token : prompt.subspan(first_resumed)) Count(token);
}

kernels::SampleArgs SamplingState::ArgsFor(int32_t row, int32_t ahead) const {
  const int32_t outputs_before = num_outputs_ + ahead;
  kernels::SampleArgs args = args_;
  args.row = row;
  args.draw += static_cast<uint64_t>(outputs_before);
  args.logit_bias = logit_bias_;
  if (outputs_before < min_tokens_) args.banned = stops_;
  args.output_counts = output_counts_;
  args.prompt_tokens_seen = prompt_seen_;
  return args;
}

FinishReason SamplingState::Add(int32_t token) {
  Count(token);
  const bool may_stop = num_outputs_ >= min_tokens_;
  ++num_outputs_;
  if (may_stop && std::binary_search(stops_.begin(), stops_.end(), token)) {
    return FinishReason::kStop;
  }
  return num_outputs_ >= max_tokens_ ? FinishReason::kLength : FinishReason::kNone;
}

void SamplingState::Count(int32_t token) {
  if (!counts_outputs_) return;
  const auto place =
      std::lower_bound(output_counts_.begin(), output_counts_.end(), std::pair(token, 0));
  if (place != output_counts_.end() && place->first == token) {
    ++place->second;
  } else {
    output_counts_.insert(place, {token, 1});
  }
}

GeneratedToken ToGeneratedToken(const kernels::SampledToken& sampled, int32_t num_logprobs) {
  GeneratedToken generated;
  generated.token = sampled.token;
  if (num_logprobs >= 0) generated.logprob = sampled.logprob;
  generated.top.reserve(sampled.top.size());
  for (const auto& [token, logprob] : sampled.top) generated.top.push_back({token, logprob});
  return generated;
}

}  // namespace baton::engine
