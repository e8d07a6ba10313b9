#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "absl/time/time.h"
#include "common/base/status.h"
#include "common/base/strong_id.h"
#include "common/request/generated_token.h"

// What a request in flight tells the door it came through. Order: Started, then Pieces and
// ChoiceEnds of all choices interleaved, then Completed; or Failed at any point. Nothing follows
// Completed or Failed.
namespace baton::router {

struct Started {
  RequestId request;
  int32_t prompt_tokens = 0;
  uint64_t seed = 0;
  WorkerId decode;
  WorkerId prefill;  // empty: local prefill
};

// A token on its way to the client.
struct ShownToken : GeneratedToken {
  int64_t text_offset = 0;  // characters (code points) of the choice's text in front of its own
};

// What one step brought to one choice. `text` may be empty: bytes of an unfinished character or
// what may become a stop string is held back, and the tokens with it.
struct Piece {
  int32_t choice = 0;
  std::string text;  // whole UTF-8 characters
  std::vector<ShownToken>
      prompt;  // with prompt_logprobs: the prompt's next tokens, before all others
  std::vector<ShownToken> tokens;  // the tokens behind the text
  int32_t hidden_tokens = 0;  // so many at the end of `tokens` stand for no text: the stop token
};

struct ChoiceEnd {
  int32_t choice = 0;
  FinishReason reason = FinishReason::kNone;  // kStop or kLength
  std::string stop;                           // the stop string that matched
};

struct Completed {
  int32_t prompt_tokens = 0;
  int32_t cached_tokens = 0;      // of the prompt, in the decode worker's cache
  int32_t completion_tokens = 0;  // over all choices
  absl::Duration ttft;
  absl::Duration total;
};

struct Failed {
  absl::Status status;  // may carry RetryAfterOf()
};

using Event = std::variant<Started, Piece, ChoiceEnd, Completed, Failed>;

// A door's end of a request. Called by one thread at a time, never from inside a call of the door's
// own into the flight except Start(). Must not block nor call back into the flight.
class EventSink {
 public:
  virtual ~EventSink() = default;
  // All news of one step. False: the client is gone, or reads too slowly; the request is cancelled
  // and nothing more is told.
  [[nodiscard]] virtual bool OnEvents(std::vector<Event> events) = 0;
};

}  // namespace baton::router
