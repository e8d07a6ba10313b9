#pragma once

#include <cstdint>
#include <deque>
#include <span>
#include <string>
#include <vector>

#include "common/request/generated_token.h"
#include "common/request/sampling_params.h"
#include "common/text/incremental_detokenizer.h"
#include "common/text/stop_matcher.h"
#include "services/router/dispatch/event.h"

namespace baton::router {

// One choice's tokens on their way to text: detokenized as they come, matched against the stop
// strings across token boundaries, and let go together with the tokens behind the text. One thread
// at a time.
class ChoiceText {
 public:
  // The tokenizer outlives this. `context`: tokens whose text the choice continues, read now only.
  ChoiceText(const text::Tokenizer& tokenizer, const SamplingParams& sampling,
             std::span<const int32_t> context);

  struct Output {
    std::string text;
    std::vector<ShownToken> tokens;
    bool stopped = false;  // a stop string is complete: the choice ends here
    std::string stop;      // which one
  };
  // A token of a prompt that is echoed; all of them before the first Push(). Stop strings are not
  // looked for in it.
  Output PushPrompt(GeneratedToken token);
  Output Push(GeneratedToken token);
  // No more tokens. `hidden`: a token that ended the choice and stands for no text.
  Output Finish(std::vector<GeneratedToken> hidden);

  int32_t num_tokens() const { return num_tokens_; }

 private:
  ShownToken Place(GeneratedToken token) const;
  std::string Detokenize(int32_t token);
  void Release(Output& output, bool everything);

  text::IncrementalDetokenizer detokenizer_;
  text::StopMatcher stops_;
  const std::vector<std::string> stop_strings_;
  struct Held {
    ShownToken token;
    size_t text_end = 0;  // bytes of text there were after it
  };
  std::deque<Held> held_;
  size_t text_bytes_ = 0;     // detokenized so far
  int64_t text_chars_ = 0;    // the same in characters
  size_t emitted_bytes_ = 0;  // and let go
  int32_t num_tokens_ = 0;
};

}  // namespace baton::router
