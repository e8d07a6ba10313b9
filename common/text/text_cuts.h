#pragma once

#include <cstddef>
#include <string_view>

namespace baton::text {

// Parts of a text that are encoded apart are at least this long, but for the last.
inline constexpr size_t kPartBytesMin = 2048;

// The end of the part that begins at `begin`: the first place at least kPartBytesMin behind it
// where tokenizers that may cut (ffi/src/cuts.rs) begin a new token whatever the text: behind a
// line break with visible ASCII in front of it and an ASCII letter behind it. The text's end if
// there is none.
//
// Depends on nothing behind it: texts that begin alike have the same parts as far as they are
// alike.
size_t EndOfPart(std::string_view text, size_t begin);

}  // namespace baton::text
