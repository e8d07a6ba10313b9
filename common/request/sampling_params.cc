#include "common/request/sampling_params.h"

#include <cmath>
#include <string_view>

namespace baton {
namespace {

absl::Status CheckRange(std::string_view field, double value, double low, double high) {
  if (std::isfinite(value) && value >= low && value <= high) return absl::OkStatus();
  return InvalidArgument("{} must be between {} and {}, got {}", field, low, high, value);
}

absl::Status CheckOpenRange(std::string_view field, double value, double above, double high) {
  if (std::isfinite(value) && value > above && value <= high) return absl::OkStatus();
  return InvalidArgument("{} must be above {} and at most {}, got {}", field, above, high, value);
}

absl::Status CheckToken(std::string_view field, int32_t token, int32_t vocab) {
  if (token >= 0 && token < vocab) return absl::OkStatus();
  return InvalidArgument("{} names token {}, but the vocabulary has ids 0 to {}", field, token,
                         vocab - 1);
}

absl::Status CheckCount(std::string_view field, size_t count, size_t most) {
  if (count <= most) return absl::OkStatus();
  return InvalidArgument("{} has {} entries, at most {} are allowed", field, count, most);
}

}  // namespace

absl::Status SamplingParams::Validate(int32_t vocab) const {
  RETURN_IF_ERROR(CheckRange("temperature", temperature, 0, 2));
  if (top_k < 0) return InvalidArgument("top_k must be at least 0 (0 = off), got {}", top_k);
  RETURN_IF_ERROR(CheckOpenRange("top_p", top_p, 0, 1));
  RETURN_IF_ERROR(CheckRange("min_p", min_p, 0, 1));
  RETURN_IF_ERROR(CheckOpenRange("repetition_penalty", repetition_penalty, 0, 10));
  RETURN_IF_ERROR(CheckRange("presence_penalty", presence_penalty, -2, 2));
  RETURN_IF_ERROR(CheckRange("frequency_penalty", frequency_penalty, -2, 2));
  RETURN_IF_ERROR(CheckCount("logit_bias", logit_bias.size(), kLogitBiasMax));
  for (const auto& [token, bias] : logit_bias) {
    RETURN_IF_ERROR(CheckToken("logit_bias", token, vocab));
    RETURN_IF_ERROR(CheckRange("logit_bias", bias, -100, 100));
  }
  if (logprobs) RETURN_IF_ERROR(CheckRange("logprobs", *logprobs, 0, kLogprobsMax));
  if (prompt_logprobs) {
    RETURN_IF_ERROR(CheckRange("prompt_logprobs", *prompt_logprobs, 0, kLogprobsMax));
  }
  if (max_tokens && *max_tokens < 0) {
    return InvalidArgument("max_tokens must be at least 0, got {}", *max_tokens);
  }
  if (min_tokens < 0) return InvalidArgument("min_tokens must be at least 0, got {}", min_tokens);
  if (max_tokens && min_tokens > *max_tokens) {
    return InvalidArgument("min_tokens ({}) is above max_tokens ({})", min_tokens, *max_tokens);
  }
  RETURN_IF_ERROR(CheckCount("stop_token_ids", stop_token_ids.size(), kStopTokensMax));
  for (int32_t token : stop_token_ids) RETURN_IF_ERROR(CheckToken("stop_token_ids", token, vocab));
  RETURN_IF_ERROR(CheckCount("stop", stop_strings.size(), kStopStringsMax));
  for (const std::string& stop : stop_strings) {
    if (stop.empty()) return InvalidArgument("stop holds an empty string");
    if (stop.size() > kStopStringBytesMax) {
      return InvalidArgument("stop holds a string of {} bytes, at most {} are allowed", stop.size(),
                             kStopStringBytesMax);
    }
  }
  return absl::OkStatus();
}

}  // namespace baton
