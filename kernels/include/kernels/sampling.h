#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

namespace baton::kernels {

// How one row of logits becomes one token. Order of operations (the one of OpenAI-compatible
// servers):
//   1. logit_bias is added; banned tokens become -inf
//   2. repetition penalty: for tokens in prompt or output, l > 0 ? l / r : l * r
//   3. frequency and presence penalty, over output tokens: l -= f * count + p * (count > 0)
//   4. log-probabilities to report are taken here (log softmax of the penalised logits)
//   5. temperature 0: the largest logit, lowest id on ties. Else l / temperature, softmax, then
//      top-k, top-p (smallest set whose mass >= top_p), min-p (>= min_p * largest) in that order,
//      and one draw u in [0, 1) from Philox4x32-10(key = seed, counter = draw) over the kept tokens
//      in order of falling probability (ties by rising id).
// The result depends on the row and these arguments only.
struct SampleArgs {
  int32_t row = 0;               // of the logits matrix
  int32_t given = -1;            // a token that is not drawn but known: only step 4 is of interest
  float temperature = 1;         // 0 = greedy; range [0, 2]
  int32_t top_k = 0;             // 0 = off
  float top_p = 1;               // (0, 1]
  float min_p = 0;               // [0, 1]
  float repetition_penalty = 1;  // > 0, 1 = off
  float presence_penalty = 0;    // [-2, 2]
  float frequency_penalty = 0;   // [-2, 2]
  uint64_t seed = 0;
  uint64_t draw = 0;          // index of the token to be generated in its sequence, 0 first
  int32_t num_logprobs = -1;  // -1: none; 0: the chosen token's; k: also the k most likely
  std::span<const std::pair<int32_t, float>> logit_bias;  // (token, bias), any order
  std::span<const int32_t> banned;                        // e.g. stop ids before min_tokens
  // Counts per token id, in rising order of id; ids in [0, V).
  std::span<const std::pair<int32_t, int32_t>> output_counts;
  std::span<const int32_t> prompt_tokens_seen;  // distinct ids of the prompt
};

struct TokenLogprob {
  int32_t token = 0;
  float logprob = 0;
};

struct SampledToken {
  int32_t token = 0;              // drawn, or the given one
  float logprob = 0;              // valid when num_logprobs >= 0
  std::vector<TokenLogprob> top;  // num_logprobs entries, falling
};

// One row on the host: the definition of the above, used by the CPU backends.
// `logits` is scratch: it is overwritten.
SampledToken SampleRow(std::span<float> logits, const SampleArgs& args);

// Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC'11): the first of
// four 32-bit outputs as a float in [0, 1) with 24 bits.
float UniformAt(uint64_t seed, uint64_t counter);

}  // namespace baton::kernels
