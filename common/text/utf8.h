#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

// Well-formed UTF-8 as Unicode's table 3-7 has it: no overlong forms, no surrogates, nothing above
// U+10FFFF.
namespace baton::text {

// "\xEF\xBF\xBD", U+FFFD: stands for bytes that are not UTF-8.
inline constexpr std::string_view kReplacementCharacter = "\xEF\xBF\xBD";

// Offset of the first byte that is not part of a complete, well-formed sequence; nullopt if all
// are.
std::optional<size_t> FirstInvalidUtf8(std::string_view bytes);

// Appends `bytes` to `out`, with one U+FFFD for every maximal ill-formed piece, and stops before a
// sequence that is well-formed so far but cut off by the end. Returns the number of bytes taken:
// all but the last 0 … 3.
size_t AppendCompleteUtf8(std::string_view bytes, std::string& out);

// The same, with one U+FFFD for a sequence cut off by the end.
std::string ToValidUtf8(std::string_view bytes);

}  // namespace baton::text
