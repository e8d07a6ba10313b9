#pragma once

#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "services/router/http/response_writer.h"
#include "services/router/openai/answer.h"

namespace baton::router {

// An answer as server-sent events. The status line waits for the first chunk, so that a request
// that fails before it has an HTTP status of its own; later failures are an event with an error
// object. Both kinds of stream end with "data: [DONE]". Thread-safe.
class SseOutlet : public openai::Outlet {
 public:
  explicit SseOutlet(std::shared_ptr<ResponseWriter> writer) : writer_(std::move(writer)) {}
  bool Send(std::string json) override;
  void End() override;
  void Fail(const absl::Status& status) override;
  void Expect(size_t bytes) override { writer_->Expect(bytes); }
  // Nothing was to be said for a while: a comment, which clients skip, shows that the stream lives.
  // Begins it if need be.
  void KeepAlive() ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  void BeginOnce() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool SendLocked(const std::string& json) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void EndLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const std::shared_ptr<ResponseWriter> writer_;
  absl::Mutex mutex_;
  bool begun_ ABSL_GUARDED_BY(mutex_) = false;
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
};

// An answer as one JSON body.
class JsonOutlet : public openai::Outlet {
 public:
  explicit JsonOutlet(std::shared_ptr<ResponseWriter> writer) : writer_(std::move(writer)) {}
  bool Send(std::string json) override;
  void End() override {}
  void Fail(const absl::Status& status) override;
  void Expect(size_t) override {}  // one body, of any size

 private:
  const std::shared_ptr<ResponseWriter> writer_;
};

// An error as a whole answer, with Retry-After where it helps.
HttpAnswer AnswerOf(const absl::Status& status);

}  // namespace baton::router
