#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "services/router/dispatch/event.h"
#include "services/router/intake/served_model.h"
#include "services/router/openai/json_body.h"
#include "services/router/openai/request_parser.h"

namespace baton::router::openai {

// What one choice has said, for answers that come in one piece.
struct WholeChoice {
  std::string text;
  std::vector<ShownToken> prompt;
  std::vector<ShownToken> tokens;
  int32_t hidden_tokens = 0;
  FinishReason reason = FinishReason::kNone;
  std::string stop;
};

struct UsageCounts {
  int64_t prompt_tokens = 0;
  int64_t cached_tokens = 0;
  int64_t completion_tokens = 0;
};

// The JSON of one answer, chunk by chunk or whole. Immutable.
class ResponseShape {
 public:
  struct Options {
    Endpoint endpoint = Endpoint::kChat;
    std::string id;       // of the request
    int64_t created = 0;  // Unix seconds
    bool logprobs = false;
    bool return_token_ids = false;
    bool include_usage = false;  // chunks carry "usage": null until the last
  };
  // The model outlives this.
  ResponseShape(Options options, const ServedModel& model);

  bool chat() const { return options_.endpoint == Endpoint::kChat; }
  // chat only: {"role": "assistant"} in front of a choice's first piece.
  std::string RoleChunk(int32_t index) const;
  std::string PieceChunk(int32_t index, const Piece& piece) const;
  std::string EndChunk(int32_t index, const ChoiceEnd& end) const;
  std::string UsageChunk(const UsageCounts& usage) const;
  std::string Whole(const std::vector<WholeChoice>& choices, const UsageCounts& usage) const;

 private:
  Json Envelope(bool chunk) const;
  std::string Chunk(const Json& choice) const { return head_ + Dump(choice) + tail_; }
  std::string TextChunk(int32_t index, std::string_view text) const;
  void AddTokens(std::span<const ShownToken> prompt, std::span<const ShownToken> tokens,
                 int32_t hidden, Json& choice) const;
  Json ChatLogprobs(std::span<const ShownToken> tokens) const;
  void AddCompletionLogprobs(std::span<const ShownToken> tokens, Json& logprobs) const;
  Json TopLogprobs(const ShownToken& token) const;
  Json TokenChanceJson(int32_t token, float logprob) const;

  const Options options_;
  const ServedModel& model_;
  // Of every chunk: what is in front of its choice and behind it.
  std::string head_;
  std::string tail_;
};

Json UsageJson(const UsageCounts& usage);

}  // namespace baton::router::openai
