#include "common/text/stop_matcher.h"

#include <algorithm>
#include <utility>

#include "common/base/check.h"

namespace baton::text {

StopMatcher::StopMatcher(Options options)
    : include_stop_in_output_(options.include_stop_in_output) {
  patterns_.reserve(options.stops.size());
  for (std::string& stop : options.stops) patterns_.push_back(MakePattern(std::move(stop)));
}

StopMatcher::Result StopMatcher::Push(std::string_view piece) {
  CHECK(!stopped_, "text pushed after stop string {} was found", piece);
  const size_t held = held_.size();
  std::string text = std::exchange(held_, {});
  text.append(piece);
  for (size_t i = held; i < text.size(); ++i) {
    const std::optional<size_t> stop = AdvanceAll(text[i]);
    if (!stop) continue;
    stopped_ = true;
    text.resize(i + 1 - (include_stop_in_output_ ? 0 : patterns_[*stop].text.size()));
    return {std::move(text), true, *stop};
  }
  const size_t certain = text.size() - HeldBytes();
  held_ = text.substr(certain);
  text.resize(certain);
  return {.emit = std::move(text)};
}

std::string StopMatcher::Finish() { return std::exchange(held_, {}); }

StopMatcher::Pattern StopMatcher::MakePattern(std::string text) {
  Pattern pattern{.text = std::move(text)};
  pattern.fallback.resize(pattern.text.size(), 0);
  size_t border = 0;
  for (size_t i = 1; i < pattern.text.size(); ++i) {
    while (border > 0 && pattern.text[i] != pattern.text[border]) {
      border = pattern.fallback[border - 1];
    }
    if (pattern.text[i] == pattern.text[border]) ++border;
    pattern.fallback[i] = border;
  }
  return pattern;
}

// Requires a pattern that is not complete yet: the matcher stops at the first complete one.
bool StopMatcher::Advance(Pattern& pattern, char c) {
  if (pattern.text.empty()) return false;
  while (pattern.matched > 0 && pattern.text[pattern.matched] != c) {
    pattern.matched = pattern.fallback[pattern.matched - 1];
  }
  if (pattern.text[pattern.matched] == c) ++pattern.matched;
  return pattern.matched == pattern.text.size();
}

std::optional<size_t> StopMatcher::AdvanceAll(char c) {
  std::optional<size_t> longest;
  for (size_t i = 0; i < patterns_.size(); ++i) {
    if (!Advance(patterns_[i], c)) continue;
    if (!longest || patterns_[i].text.size() > patterns_[*longest].text.size()) longest = i;
  }
  return longest;
}

size_t StopMatcher::HeldBytes() const {
  size_t held = 0;
  for (const Pattern& pattern : patterns_) held = std::max(held, pattern.matched);
  return held;
}

}  // namespace baton::text
