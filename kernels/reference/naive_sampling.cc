#include "kernels/reference/naive_sampling.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "kernels/sampling/mass.h"

namespace baton::kernels {
namespace {

int32_t CountOf(const SampleArgs& args, int32_t token) {
  for (const auto& [id, count] : args.output_counts) {
    if (id == token) return count;
  }
  return 0;
}

bool Contains(std::span<const int32_t> ids, int32_t token) {
  return std::find(ids.begin(), ids.end(), token) != ids.end();
}

bool IsInOutput(const SampleArgs& args, int32_t token) {
  return std::any_of(args.output_counts.begin(), args.output_counts.end(),
                     [&](const auto& entry) { return entry.first == token; });
}

void Penalise(std::vector<float>& logits, const SampleArgs& args) {
  for (const auto& [token, bias] : args.logit_bias) logits[token] += bias;
  for (int32_t token : args.banned) logits[token] = -INFINITY;
  for (int32_t token = 0; token < int32_t(logits.size()); ++token) {
    float& l = logits[token];
    if (IsInOutput(args, token) || Contains(args.prompt_tokens_seen, token)) {
      l = l > 0 ? l / args.repetition_penalty : l * args.repetition_penalty;
    }
    const int32_t count = CountOf(args, token);
    if (count > 0) l -= args.frequency_penalty * count + args.presence_penalty;
  }
}

// Ids in order of falling logit, ties by rising id.
std::vector<int32_t> Ranked(const std::vector<float>& logits) {
  std::vector<int32_t> ids(logits.size());
  std::iota(ids.begin(), ids.end(), 0);
  std::stable_sort(ids.begin(), ids.end(),
                   [&](int32_t a, int32_t b) { return logits[a] > logits[b]; });
  return ids;
}

int32_t DrawFrom(std::vector<int32_t> ids, const std::vector<float>& logits,
                 const SampleArgs& args) {
  const float largest = logits[ids[0]];
  const auto mass = [&](int32_t id) { return MassOf((logits[id] - largest) / args.temperature); };
  const auto total = [&] {
    uint64_t sum = 0;
    for (int32_t id : ids) sum += mass(id);
    return sum;
  };
  if (args.top_k > 0 && size_t(args.top_k) < ids.size()) ids.resize(args.top_k);
  if (args.top_p < 1) {
    const uint64_t enough = ShareOf(total(), args.top_p);
    uint64_t sum = mass(ids[0]);
    size_t kept = 1;
    while (sum < enough) sum += mass(ids[kept++]);
    ids.resize(kept);
  }
  if (args.min_p > 0) {
    const uint64_t floor = ShareOf(mass(ids[0]), args.min_p);
    ids.erase(std::find_if(ids.begin(), ids.end(), [&](int32_t id) { return mass(id) < floor; }),
              ids.end());
  }
  uint64_t target = ShareOf(total(), UniformAt(args.seed, args.draw));
  for (int32_t id : ids) {
    if (target < mass(id)) return id;
    target -= mass(id);
  }
  return ids[0];
}

}  // namespace

SampledToken NaiveSampleRow(std::vector<float> logits, const SampleArgs& args) {
  Penalise(logits, args);
  const std::vector<int32_t> ids = Ranked(logits);
  SampledToken result;
  if (args.given >= 0) {
    result.token = args.given;
  } else {
    result.token = args.temperature == 0 ? ids[0] : DrawFrom(ids, logits, args);
  }
  if (args.num_logprobs < 0) return result;
  double sum = 0;
  for (float l : logits) sum += std::exp(double(l) - logits[ids[0]]);
  const auto logprob = [&](int32_t id) {
    return float(double(logits[id]) - logits[ids[0]] - std::log(sum));
  };
  result.logprob = logprob(result.token);
  for (int32_t i = 0; i < std::min<int32_t>(args.num_logprobs, int32_t(ids.size())); ++i) {
    result.top.push_back({ids[i], logprob(ids[i])});
  }
  return result;
}

}  // namespace baton::kernels
