#include "services/cli/bench/workload.h"

#include <algorithm>

#include "common/base/check.h"

namespace baton::cli {

Workload::Workload(const BenchOptions& options, Limits limits, std::vector<int32_t> corpus,
                   std::vector<TraceRequest> trace)
    : options_(options),
      limits_(limits),
      corpus_(std::move(corpus)),
      trace_(std::move(trace)),
      random_(static_cast<uint64_t>(options.seed)),
      shared_prefix_(DrawTokens(options.shared_tokens)) {}

absl::Status Workload::FitsLimits(const std::vector<TraceRequest>& trace, const Limits& limits) {
  for (const TraceRequest& request : trace) {
    const int64_t tokens = int64_t{request.prompt_tokens} + request.output_tokens;
    if (tokens <= limits.context_tokens) continue;
    return InvalidArgument(
        "--trace: the request at {} ms has {} prompt and {} output tokens, the model's context "
        "ends at {}",
        absl::ToInt64Milliseconds(request.at), request.prompt_tokens, request.output_tokens,
        limits.context_tokens);
  }
  return absl::OkStatus();
}

TokenRange Workload::tokens() const {
  const int32_t first = limits_.vocab > 2000 ? 1000 : limits_.vocab / 2;
  const int32_t last = std::min(std::max(first, limits_.vocab - 300), limits_.vocab - 1);
  return {.first = first, .count = last - first + 1};
}

std::vector<int32_t> Workload::DrawTokens(int32_t count) {
  std::vector<int32_t> tokens(count);
  if (!corpus_.empty()) {
    size_t at = random_() % corpus_.size();
    for (int32_t& token : tokens) token = corpus_[at++ % corpus_.size()];
    return tokens;
  }
  const TokenRange range = this->tokens();
  std::uniform_int_distribution<int32_t> id(range.first, range.first + range.count - 1);
  for (int32_t& token : tokens) token = id(random_);
  return tokens;
}

PlannedRequest Workload::NextOfTrace() {
  CHECK(next_of_trace_ < trace_.size(), "the trace has {} requests", trace_.size());
  const TraceRequest& traced = trace_[next_of_trace_++];
  return {.arrival = (traced.at - trace_.front().at) / options_.trace_speed,
          .prompt = PromptOf(traced, tokens()),
          .output_tokens = traced.output_tokens,
          .seed = random_() >> 1};
}

PlannedRequest Workload::Next() {
  if (!trace_.empty()) return NextOfTrace();
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
