#pragma once

#include <cmath>
#include <utility>
#include <vector>

#include "kernels/sampling.h"
#include "kernels/testing/fixtures.h"

// Random rows of logits, and arguments of every kind for them.
namespace baton::kernels::testing {

// Arguments with the memory their spans point at.
struct OwnedArgs {
  SampleArgs args;
  std::vector<std::pair<int32_t, float>> bias;
  std::vector<int32_t> banned, prompt;
  std::vector<std::pair<int32_t, int32_t>> counts;

  const SampleArgs& get() {
    args.logit_bias = bias;
    args.banned = banned;
    args.output_counts = counts;
    args.prompt_tokens_seen = prompt;
    return args;
  }
};

inline OwnedArgs RandomArgs(Random& random, int32_t vocab) {
  OwnedArgs owned;
  SampleArgs& a = owned.args;
  const float temperatures[] = {0, 0.01f, 0.5f, 1, 2};
  a.temperature = temperatures[random.Int(0, 4)];
  if (random.Int(0, 1) == 0) a.top_k = random.Int(1, vocab + 3);
  if (random.Int(0, 1) == 0) a.top_p = float(random.Int(1, 100)) / 100;
  if (random.Int(0, 2) == 0) a.min_p = float(random.Int(0, 100)) / 100;
  if (random.Int(0, 2) == 0) a.repetition_penalty = 0.5f + float(random.Int(0, 20)) / 10;
  if (random.Int(0, 2) == 0) a.presence_penalty = float(random.Int(-20, 20)) / 10;
  if (random.Int(0, 2) == 0) a.frequency_penalty = float(random.Int(-20, 20)) / 10;
  a.seed = uint64_t(random.Int(0, 1 << 30)) << 20;
  a.draw = uint64_t(random.Int(0, 5000));
  a.num_logprobs = random.Int(-1, 5);
  if (random.Int(0, 3) == 0) a.given = random.Int(0, vocab - 1);
  for (int32_t token = 0; token < vocab; ++token) {
    if (random.Int(0, 9) == 0) owned.bias.emplace_back(token, random.Float(3));
    if (random.Int(0, 19) == 0 && token > 0) owned.banned.push_back(token);
    if (random.Int(0, 4) == 0) owned.counts.emplace_back(token, random.Int(0, 3));
    if (random.Int(0, 4) == 0) owned.prompt.push_back(token);
  }
  random.Shuffle(owned.bias);
  return owned;
}

// Spread out, crowded, or with many ties.
inline std::vector<float> RandomLogits(Random& random, int32_t vocab) {
  const float scales[] = {0, 0.05f, 2, 30};
  std::vector<float> logits = random.Floats(size_t(vocab), scales[random.Int(0, 3)]);
  if (random.Int(0, 2) == 0) {
    for (float& l : logits) l = std::round(l);
  }
  return logits;
}

}  // namespace baton::kernels::testing
