#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace baton::config {

// The candidate that a mistyped `word` most likely meant: at most a third of its letters differ
// (insertions, deletions, changes, swaps of neighbours), or it is the beginning of exactly one.
// Empty: none is near.
std::string Nearest(std::string_view word, const std::vector<std::string>& candidates);

// " (did you mean 'x'?)" or "".
std::string DidYouMean(std::string_view word, const std::vector<std::string>& candidates);

}  // namespace baton::config
