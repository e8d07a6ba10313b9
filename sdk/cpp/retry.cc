#include "retry.h"

#include <algorithm>
#include <charconv>

namespace baton::sdk {
namespace {

ErrorCode CodeOf(grpc::StatusCode code) {
  switch (code) {
    case grpc::StatusCode::OK:
      return ErrorCode::kNone;
    case grpc::StatusCode::INVALID_ARGUMENT:
    case grpc::StatusCode::OUT_OF_RANGE:
    case grpc::StatusCode::FAILED_PRECONDITION:
    case grpc::StatusCode::UNIMPLEMENTED:
      return ErrorCode::kInvalidRequest;
    case grpc::StatusCode::NOT_FOUND:
      return ErrorCode::kNotFound;
    case grpc::StatusCode::PERMISSION_DENIED:
    case grpc::StatusCode::UNAUTHENTICATED:
      return ErrorCode::kPermissionDenied;
    case grpc::StatusCode::RESOURCE_EXHAUSTED:
      return ErrorCode::kOverloaded;
    case grpc::StatusCode::ABORTED:
    case grpc::StatusCode::UNAVAILABLE:
      return ErrorCode::kUnavailable;
    case grpc::StatusCode::DEADLINE_EXCEEDED:
      return ErrorCode::kDeadlineExceeded;
    case grpc::StatusCode::CANCELLED:
      return ErrorCode::kCancelled;
    default:
      return ErrorCode::kInternal;
  }
}

}  // namespace

const char* NameOf(ErrorCode code) {
  switch (code) {
    case ErrorCode::kNone:
      return "none";
    case ErrorCode::kInvalidRequest:
      return "invalid_request";
    case ErrorCode::kNotFound:
      return "not_found";
    case ErrorCode::kPermissionDenied:
      return "permission_denied";
    case ErrorCode::kOverloaded:
      return "overloaded";
    case ErrorCode::kUnavailable:
      return "unavailable";
    case ErrorCode::kDeadlineExceeded:
      return "deadline_exceeded";
    case ErrorCode::kCancelled:
      return "cancelled";
    case ErrorCode::kInternal:
      return "internal";
  }
  return "unknown";
}

Error ErrorOf(const grpc::Status& status, const grpc::ClientContext& context) {
  Error error{CodeOf(status.error_code()), status.error_message(), {}};
  const auto& trailers = context.GetServerTrailingMetadata();
  if (auto it = trailers.find("retry-after-ms"); it != trailers.end()) {
    int64_t wish = 0;
    std::from_chars(it->second.data(), it->second.data() + it->second.size(), wish);
    error.retry_after = std::chrono::milliseconds(std::clamp<int64_t>(wish, 0, 3600000));
  }
  return error;
}

Retry::Retry(const ClientOptions& options, std::chrono::milliseconds timeout)
    : attempts_left_(std::max(1, options.attempts) - 1),
      backoff_(options.backoff),
      has_deadline_(timeout.count() > 0),
      deadline_(Clock::now() + timeout) {}

bool Retry::Again(const Error& error, std::chrono::milliseconds& pause) {
  if (!error.retryable() || attempts_left_ == 0) return false;
  pause = std::max(backoff_, error.retry_after);
  if (has_deadline_ && Clock::now() + pause >= deadline_) return false;
  --attempts_left_;
  backoff_ *= 2;
  return true;
}

}  // namespace baton::sdk
