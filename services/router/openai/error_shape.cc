#include "services/router/openai/error_shape.h"

#include "services/router/intake/field_error.h"

namespace baton::router::openai {
namespace {

Json OrNull(std::string_view text) { return text.empty() ? Json(nullptr) : Json(text); }

std::string_view TypeOf(int http_status) {
  switch (http_status) {
    case 404:
      return "not_found_error";
    case 429:
      return "rate_limit_error";
    case 500:
      return "server_error";
    case 503:
      return "service_unavailable_error";
    case 504:
      return "timeout_error";
    default:
      return "invalid_request_error";
  }
}

}  // namespace

int HttpStatusOf(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kOk:
      return 200;
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kOutOfRange:
    case absl::StatusCode::kUnimplemented:
      return 400;
    case absl::StatusCode::kUnauthenticated:
      return 401;
    case absl::StatusCode::kNotFound:
      return 404;
    case absl::StatusCode::kResourceExhausted:
      return 429;
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kFailedPrecondition:
      return 503;
    case absl::StatusCode::kDeadlineExceeded:
      return 504;
    case absl::StatusCode::kCancelled:
      return 499;
    default:
      return 500;
  }
}

Json ErrorJson(const absl::Status& status) {
  Json error;
  error["message"] = MessageOf(status);
  error["type"] = TypeOf(HttpStatusOf(status));
  error["param"] = OrNull(FieldOf(status));
  error["code"] = OrNull(ErrorCodeOf(status));
  return Json{{"error", std::move(error)}};
}

Json ErrorJson(std::string_view message, std::string_view type, std::string_view code) {
  return Json{{"error",
               {{"message", message}, {"type", type}, {"param", nullptr}, {"code", OrNull(code)}}}};
}

}  // namespace baton::router::openai
