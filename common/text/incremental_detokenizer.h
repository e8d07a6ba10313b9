#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "common/text/text_start_filter.h"
#include "common/text/tokenizer.h"

namespace baton::text {

// Turns one sequence's tokens into text as they come. Every piece it gives is valid UTF-8; bytes
// that may yet grow into a character are held back (at most 3). All pieces together are what
// Tokenizer::Decode gives for all the tokens. Costs O(bytes of the token) per token.
//
// Belongs to one thread. The tokenizer must outlive it.
class IncrementalDetokenizer {
 public:
  struct Options {
    bool skip_special = true;
    // The tokens before the first one, if their text precedes ours (a prompt). With text in front,
    // a leading space is part of the continuation; without, it is the vocabulary's and dropped.
    std::span<const int32_t> context = {};  // read by the constructor only
  };
  IncrementalDetokenizer(const Tokenizer& tokenizer, const Options& options);

  // The text that this token makes complete; often empty for scripts with many bytes a character.
  std::string Push(int32_t id);
  // No more tokens: U+FFFD if bytes of an unfinished character are left, else nothing.
  std::string Finish();

 private:
  const Tokenizer& tokenizer_;
  const bool skip_special_;
  TextStartFilter start_;
  std::string pending_;  // 0 … 3 bytes: the start of a character
};

}  // namespace baton::text
