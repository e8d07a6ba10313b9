#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <utility>

namespace baton::sdk {

enum class ErrorCode {
  kNone,
  kInvalidRequest,    // the message names the field; sending it again will not help
  kNotFound,          // unknown model
  kPermissionDenied,  // credentials are missing or wrong
  kOverloaded,        // try again after `retry_after`
  kUnavailable,       // no router or no worker; retryable
  kDeadlineExceeded,  // the request's timeout ran out
  kCancelled,         // by Generation::Cancel()
  kInternal,          // the server's fault
};

// "overloaded", "invalid_request", …
const char* NameOf(ErrorCode code);

// What went wrong, or nothing: `if (error) …`.
struct Error {
  ErrorCode code = ErrorCode::kNone;
  std::string message;
  std::chrono::milliseconds retry_after{0};  // the server's wish; 0: none given

  explicit operator bool() const { return code != ErrorCode::kNone; }
  bool retryable() const {
    return code == ErrorCode::kOverloaded || code == ErrorCode::kUnavailable;
  }
};

// A value or an error.
template <typename T>
class Result {
 public:
  Result(T value) : value_(std::move(value)) {}      // NOLINT(google-explicit-constructor)
  Result(Error error) : error_(std::move(error)) {}  // NOLINT(google-explicit-constructor)

  bool ok() const { return value_.has_value(); }
  const Error& error() const { return error_; }
  T& operator*() { return *value_; }
  const T& operator*() const { return *value_; }
  T* operator->() { return &*value_; }
  const T* operator->() const { return &*value_; }

 private:
  std::optional<T> value_;
  Error error_;
};

}  // namespace baton::sdk
