#pragma once

#include <boost/asio/ssl/context.hpp>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/base/file_stamp.h"
#include "common/base/status.h"

namespace baton::router {

// The HTTP door's certificate and its key. Thread-safe.
class HttpTls {
 public:
  // FAILED_PRECONDITION names the option and the file that cannot be used, and what to do.
  static absl::StatusOr<std::unique_ptr<HttpTls>> Load(std::string certificate, std::string key);

  // What new connections are made from.
  std::shared_ptr<boost::asio::ssl::context> context() const ABSL_LOCKS_EXCLUDED(mutex_);
  // Reads the files again when they have changed; looks once a second at most. While they cannot
  // be used those of before go on, with one error in the log.
  void Refresh(absl::Duration now) ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  using Context = std::shared_ptr<boost::asio::ssl::context>;
  HttpTls(std::string certificate, std::string key)
      : certificate_(std::move(certificate)), key_(std::move(key)) {}
  absl::StatusOr<Context> Read() const;

  const std::string certificate_;
  const std::string key_;
  mutable absl::Mutex mutex_;
  Context context_ ABSL_GUARDED_BY(mutex_);
  FileStamp certificate_stamp_ ABSL_GUARDED_BY(mutex_);
  FileStamp key_stamp_ ABSL_GUARDED_BY(mutex_);
  absl::Duration look_at_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace baton::router
