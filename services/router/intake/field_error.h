#pragma once

#include <string>
#include <string_view>
#include <utility>

#include "absl/time/time.h"
#include "common/base/status.h"

// Client mistakes carry the field they are about, as OpenAI's error object has it in `param`.
namespace baton::router {

// `field` is a path as the client wrote it: "messages[2].role".
absl::Status WithField(absl::Status status, std::string_view field);
// INVALID_ARGUMENT about `field`; its name belongs into the text too, for gRPC clients and logs.
template <typename... Args>
absl::Status FieldError(std::string_view field, fmt::format_string<Args...> text, Args&&... args) {
  return WithField(InvalidArgument(text, std::forward<Args>(args)...), field);
}
// Empty: not about a field.
std::string FieldOf(const absl::Status& status);

// A machine-readable word for the error, OpenAI's `code`: "model_not_found".
absl::Status WithErrorCode(absl::Status status, std::string_view code);
std::string ErrorCodeOf(const absl::Status& status);

// When it may be worth trying again; zero: nothing is known.
absl::Status WithRetryAfter(absl::Status status, absl::Duration retry_after);
absl::Duration RetryAfterOf(const absl::Status& status);

}  // namespace baton::router
