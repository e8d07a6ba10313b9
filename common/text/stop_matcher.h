#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace baton::text {

// Finds the first of some stop strings in a text that arrives in pieces, however it is cut.
//
// The text stops at the first byte at which it ends with a stop string; if several end there, the
// longest counts. Until then everything is passed on except the longest tail that may still grow
// into a stop string. Costs O(bytes × stop strings), whatever the pieces.
//
// Pieces and stop strings that are valid UTF-8 give valid UTF-8. Belongs to one thread.
class StopMatcher {
 public:
  struct Options {
    std::vector<std::string> stops;  // an empty one never matches
    bool include_stop_in_output = false;
  };
  explicit StopMatcher(Options options);

  struct Result {
    std::string emit;  // text that is certain now
    bool stopped = false;
    size_t stop_index = 0;  // into Options::stops; meaningful when stopped
  };
  // Requires that no earlier result was `stopped`.
  Result Push(std::string_view piece);
  // No more text: what was held back.
  std::string Finish();

 private:
  // One stop string and how much of it the text's tail matches (Knuth, Morris, Pratt).
  struct Pattern {
    std::string text;
    std::vector<size_t> fallback;  // [text.size()] longest proper border of text[0 … i]
    size_t matched = 0;
  };
  static Pattern MakePattern(std::string text);
  static bool Advance(Pattern& pattern, char c);
  // Takes one more byte in; the longest pattern that is complete with it.
  std::optional<size_t> AdvanceAll(char c);
  size_t HeldBytes() const;

  std::vector<Pattern> patterns_;
  const bool include_stop_in_output_;
  std::string held_;  // a proper prefix of some stop string
  bool stopped_ = false;
};

}  // namespace baton::text
