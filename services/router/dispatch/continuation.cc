#include "services/router/dispatch/continuation.h"

#include <algorithm>

#include "fmt/format.h"

namespace baton::router {

// A request's own id ends in hexadecimal digits (Intake), so that this mark is ours.
constexpr char kMark = '~';

RequestId AttemptId(const RequestId& request, int attempt) {
  if (attempt <= 1) return request;
  return RequestId(fmt::format("{}{}{}", request.value(), kMark, attempt));
}

std::string_view RequestOf(std::string_view attempt_id) {
  const size_t digits = attempt_id.find_last_not_of("0123456789");
  if (digits == std::string_view::npos || attempt_id[digits] != kMark) return attempt_id;
  return attempt_id.substr(0, digits);
}

SequenceSpec ContinuationOf(const AcceptedRequest& request, int32_t choice,
                            std::span<const int32_t> output, absl::Duration now) {
  SequenceSpec spec{.id = {request.id, choice},
                    .prompt = request.prompt,
                    .sampling = request.sampling,
                    .resumed_tokens = static_cast<int32_t>(output.size()),
                    .priority = request.priority,
                    .time_left = request.deadline - now,
                    .traceparent = request.traceparent};
  spec.prompt.insert(spec.prompt.end(), output.begin(), output.end());
  SamplingParams& sampling = spec.sampling;
  sampling.seed = *request.sampling.seed + static_cast<uint64_t>(choice);
  sampling.max_tokens = *sampling.max_tokens - spec.resumed_tokens;
  sampling.min_tokens = std::max(0, sampling.min_tokens - spec.resumed_tokens);
  sampling.stop_strings.clear();  // matched here, on text
  return spec;
}

}  // namespace baton::router
