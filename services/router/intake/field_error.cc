#include "services/router/intake/field_error.h"

#include <cstdlib>

#include "absl/strings/cord.h"

namespace baton::router {
namespace {

constexpr char kField[] = "baton.field";
constexpr char kCode[] = "baton.code";
constexpr char kRetryAfterMs[] = "baton.retry_after_ms";

absl::Status With(absl::Status status, const char* key, const std::string& value) {
  if (!status.ok()) status.SetPayload(key, absl::Cord(value));
  return status;
}

std::string Get(const absl::Status& status, const char* key) {
  const auto payload = status.GetPayload(key);
  return payload ? std::string(*payload) : "";
}

}  // namespace

absl::Status WithField(absl::Status status, std::string_view field) {
  return With(std::move(status), kField, std::string(field));
}

std::string FieldOf(const absl::Status& status) { return Get(status, kField); }

absl::Status WithErrorCode(absl::Status status, std::string_view code) {
  return With(std::move(status), kCode, std::string(code));
}

std::string ErrorCodeOf(const absl::Status& status) { return Get(status, kCode); }

absl::Status WithRetryAfter(absl::Status status, absl::Duration retry_after) {
  return With(std::move(status), kRetryAfterMs,
              std::to_string(absl::ToInt64Milliseconds(retry_after)));
}

absl::Duration RetryAfterOf(const absl::Status& status) {
  return absl::Milliseconds(std::strtoll(Get(status, kRetryAfterMs).c_str(), nullptr, 10));
}

}  // namespace baton::router
