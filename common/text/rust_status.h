#pragma once

#include <string>

#include "absl/status/status.h"
#include "baton_text.h"

// Rust's results as ours; for common/text's own files.
namespace baton::text {

// Takes the bytes over and frees them.
std::string TakeString(baton_text_bytes bytes);

// The Status of a failed call; takes the message over and frees it. `code` is not BATON_TEXT_OK.
absl::Status TakeError(baton_text_code code, baton_text_bytes message);

}  // namespace baton::text
