#pragma once

#include <grpcpp/grpcpp.h>

#include <chrono>

#include "baton/client.h"
#include "baton/error.h"

namespace baton::sdk {

// The end of a call in the SDK's words; `retry_after` from the "retry-after-ms" trailer.
Error ErrorOf(const grpc::Status& status, const grpc::ClientContext& context);

// Counts the attempts of one request and how long to wait between them. Not thread-safe.
class Retry {
 public:
  using Clock = std::chrono::system_clock;

  // A timeout of 0 never ends.
  Retry(const ClientOptions& options, std::chrono::milliseconds timeout);

  bool has_deadline() const { return has_deadline_; }
  Clock::time_point deadline() const { return deadline_; }

  // Whether to send the request again after `error`, and when. Never past the deadline.
  bool Again(const Error& error, std::chrono::milliseconds& pause);

 private:
  int attempts_left_;
  std::chrono::milliseconds backoff_;
  bool has_deadline_;
  Clock::time_point deadline_;
};

}  // namespace baton::sdk
