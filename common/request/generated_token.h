#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace baton {

struct TokenChance {
  int32_t token = 0;
  float logprob = 0;  // natural logarithm
};

// One token a sequence has produced, or, where prompt_logprobs are asked for, one of its prompt.
struct GeneratedToken {
  int32_t token = 0;
  // Absent when logprobs were not asked for, and for a prompt's first token: nothing comes before
  // it.
  std::optional<float> logprob;
  std::vector<TokenChance> top;  // the likeliest, falling; as many as asked for
};

// Why a sequence ended. Cancelled is an outcome, not an error.
enum class FinishReason : uint8_t {
  kNone = 0,   // not finished
  kStop,       // an end-of-sequence or stop token (its id is the last token, not shown as text)
  kLength,     // max_tokens or the context is full
  kCancelled,  // the client went away or asked for it
  kError,      // with a status
};

constexpr std::string_view NameOf(FinishReason reason) {
  switch (reason) {
    case FinishReason::kNone:
      return "none";
    case FinishReason::kStop:
      return "stop";
    case FinishReason::kLength:
      return "length";
    case FinishReason::kCancelled:
      return "cancelled";
    case FinishReason::kError:
      return "error";
  }
  return "?";
}

}  // namespace baton
