#pragma once

#include <algorithm>
#include <string>
#include <string_view>

#include "common/text/tokenizer.h"

namespace baton::text {

// Applies a TextStart rule to a sequence's tokens, one by one. For common/text's own files.
class TextStartFilter {
 public:
  // `at_start` is false when the sequence continues a text.
  TextStartFilter(const TextStart& start, bool at_start)
      : rule_(at_start ? start.rule : TextStart::Rule::kAsIs), spaces_left_(start.spaces_max) {}

  void Append(std::string_view token, std::string& out) {
    if (rule_ == TextStart::Rule::kFirstTokenBare) {
      std::copy_if(token.begin(), token.end(), std::back_inserter(out),
                   [](char c) { return c != ' '; });
      rule_ = TextStart::Rule::kAsIs;
      return;
    }
    if (rule_ == TextStart::Rule::kStripSpaces) token = WithoutLeadingSpaces(token);
    out.append(token);
  }

 private:
  std::string_view WithoutLeadingSpaces(std::string_view token) {
    while (spaces_left_ > 0 && token.starts_with(' ')) {
      token.remove_prefix(1);
      --spaces_left_;
    }
    if (spaces_left_ == 0 || !token.empty()) rule_ = TextStart::Rule::kAsIs;
    return token;
  }

  TextStart::Rule rule_;
  size_t spaces_left_;
};

}  // namespace baton::text
