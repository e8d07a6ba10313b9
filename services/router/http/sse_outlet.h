#pragma once

#include <memory>
#include <string>

#include "services/router/http/response_writer.h"
#include "services/router/openai/answer.h"

namespace baton::router {

// An answer as server-sent events. The status line waits for the first chunk, so that a request
// that fails before it has an HTTP status of its own; later failures are an event with an error
// object. Both kinds of stream end with "data: [DONE]".
class SseOutlet : public openai::Outlet {
 public:
  explicit SseOutlet(std::shared_ptr<ResponseWriter> writer) : writer_(std::move(writer)) {}
  bool Send(std::string json) override;
  void End() override;
  void Fail(const absl::Status& status) override;
  void Expect(size_t bytes) override { writer_->Expect(bytes); }

 private:
  const std::shared_ptr<ResponseWriter> writer_;
  bool begun_ = false;
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
