#include "kernels/sampling/penalties.h"

#include <algorithm>
#include <limits>

#include "kernels/check.h"

namespace baton::kernels {
namespace {

void Repeat(float& logit, float penalty) { logit = logit > 0 ? logit / penalty : logit * penalty; }

// A token of both prompt and output is penalised once: both lists rise or are looked up by id.
void ApplyRepetition(std::span<float> logits, const SampleArgs& args) {
  std::span<const std::pair<int32_t, int32_t>> output = args.output_counts;
  for (const auto& [token, count] : output) Repeat(logits[token], args.repetition_penalty);
  for (int32_t token : args.prompt_tokens_seen) {
    size_t low = 0, high = output.size();
    while (low < high) {
      const size_t middle = (low + high) / 2;
      if (output[middle].first < token) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    const bool in_output = low < output.size() && output[low].first == token;
    if (!in_output) Repeat(logits[token], args.repetition_penalty);
  }
}

void CheckIds(std::span<const float> logits, const SampleArgs& args) {
  const auto in_range = [&](int32_t id) { return id >= 0 && size_t(id) < logits.size(); };
  for (const auto& [token, bias] : args.logit_bias) KERNELS_CHECK(in_range(token));
  for (int32_t token : args.banned) KERNELS_CHECK(in_range(token));
  for (const auto& [token, count] : args.output_counts) KERNELS_CHECK(in_range(token));
  for (int32_t token : args.prompt_tokens_seen) KERNELS_CHECK(in_range(token));
}

}  // namespace

void ApplyPenalties(std::span<float> logits, const SampleArgs& args) {
  CheckIds(logits, args);
  for (const auto& [token, bias] : args.logit_bias) logits[token] += bias;
  for (int32_t token : args.banned) logits[token] = -std::numeric_limits<float>::infinity();
  if (args.repetition_penalty != 1) ApplyRepetition(logits, args);
  if (args.frequency_penalty != 0 || args.presence_penalty != 0) {
    for (const auto& [token, count] : args.output_counts) {
      if (count > 0) logits[token] -= args.frequency_penalty * count + args.presence_penalty;
    }
  }
}

bool HasNoPenalties(const SampleArgs& args) {
  return args.logit_bias.empty() && args.banned.empty() && args.repetition_penalty == 1 &&
         ((args.frequency_penalty == 0 && args.presence_penalty == 0) ||
          args.output_counts.empty());
}

int32_t LargestLogit(std::span<const float> logits) {
  constexpr size_t kLanes = 16;  // independent maxima, which compilers keep in vectors
  float lanes[kLanes];
  std::fill_n(lanes, kLanes, -std::numeric_limits<float>::infinity());
  size_t i = 0;
  for (; i + kLanes <= logits.size(); i += kLanes) {
    for (size_t j = 0; j < kLanes; ++j)
      lanes[j] = logits[i + j] > lanes[j] ? logits[i + j] : lanes[j];
  }
  for (; i < logits.size(); ++i) lanes[0] = logits[i] > lanes[0] ? logits[i] : lanes[0];
  const float largest = *std::max_element(lanes, lanes + kLanes);
  const auto at = std::find(logits.begin(), logits.end(), largest);
  return at == logits.end() ? 0 : int32_t(at - logits.begin());
}

}  // namespace baton::kernels
