#include "common/text/text_cuts.h"

namespace baton::text {
namespace {

bool IsVisible(char c) { return c > ' ' && c < 0x7f; }
bool IsLetter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

}  // namespace

size_t EndOfPart(std::string_view text, size_t begin) {
  if (text.size() - begin <= kPartBytesMin) return text.size();
  for (size_t at = begin + kPartBytesMin;; ++at) {
    at = text.find('\n', at - 1);
    if (at == std::string_view::npos || ++at == text.size()) return text.size();
    if (IsVisible(text[at - 2]) && IsLetter(text[at])) return at;
  }
}

}  // namespace baton::text
