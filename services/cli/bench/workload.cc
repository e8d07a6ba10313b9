#include "services/cli/bench/workload.h"

#include <algorithm>

namespace baton::cli {

Workload::Workload(const BenchOptions& options, Limits limits, std::vector<int32_t> corpus)
    : options_(options),
      limits_(limits),
      corpus_(std::move(corpus)),
      random_(static_cast<uint64_t>(options.seed)),
      shared_prefix_(DrawTokens(options.shared_tokens)) {}

std::vector<int32_t> Workload::DrawTokens(int32_t count) {
  std::vector<int32_t> tokens(count);
  if (!corpus_.empty()) {
    size_t at = random_() % corpus_.size();
    for (int32_t& token : tokens) token = corpus_[at++ % corpus_.size()];
    return tokens;
  }
  // The first ids are bytes and special tokens in most vocabularies: left out where there are
  // enough.
  const int32_t first = limits_.vocab > 2000 ? 1000 : limits_.vocab / 2;
  std::uniform_int_distribution<int32_t> id(first, std::max(first, limits_.vocab - 300));
  for (int32_t& token : tokens) token = std::min(id(random_), limits_.vocab - 1);
  return tokens;
}

PlannedRequest Workload::Next() {
  PlannedRequest request;
  if (options_.rate > 0) {
    clock_ += absl::Seconds(std::exponential_distribution<double>(options_.rate)(random_));
    request.arrival = clock_;
  }
  const bool shared = std::bernoulli_distribution(options_.shared_share)(random_);
  // At least one token of its own, and room for one of output.
  const int32_t most = std::max(2, limits_.context_tokens - 1);
  int32_t length = options_.prompt_tokens.Draw(random_, most);
  if (shared) length = std::min(most, std::max(length, options_.shared_tokens + 1));
  request.output_tokens = options_.output_tokens.Draw(random_, limits_.context_tokens - length);
  request.prompt = DrawTokens(length);
  if (shared) {
    const size_t common = std::min(shared_prefix_.size(), request.prompt.size() - 1);
    std::copy_n(shared_prefix_.begin(), common, request.prompt.begin());
  }
  request.seed = random_() >> 1;
  return request;
}

}  // namespace baton::cli
