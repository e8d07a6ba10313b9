#include "common/text/rust_status.h"

#include "common/base/check.h"
#include "common/base/status.h"

namespace baton::text {

std::string TakeString(baton_text_bytes bytes) {
  std::string text(reinterpret_cast<const char*>(bytes.data), bytes.size);
  baton_text_bytes_free(bytes);
  return text;
}

absl::Status TakeError(baton_text_code code, baton_text_bytes message) {
  const std::string text = TakeString(message);
  switch (code) {
    case BATON_TEXT_INVALID_ARGUMENT:
      return absl::InvalidArgumentError(text);
    case BATON_TEXT_FAILED_PRECONDITION:
      return absl::FailedPreconditionError(text);
    case BATON_TEXT_UNIMPLEMENTED:
      return absl::UnimplementedError(text);
    case BATON_TEXT_INTERNAL:
      return absl::InternalError(text);
    case BATON_TEXT_OK:
      break;
  }
  CHECK(false, "code {} is no error: {}", static_cast<int>(code), text);
}

}  // namespace baton::text
