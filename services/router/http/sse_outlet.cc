#include "services/router/http/sse_outlet.h"

#include <algorithm>
#include <utility>

#include "services/router/intake/field_error.h"
#include "services/router/openai/error_shape.h"

namespace baton::router {

HttpAnswer AnswerOf(const absl::Status& status) {
  HttpAnswer answer{.status = openai::HttpStatusOf(status),
                    .body = openai::Dump(openai::ErrorJson(status))};
  if (answer.status == 401) answer.headers.emplace_back("WWW-Authenticate", "Bearer");
  if (answer.status == 429 || answer.status == 503) {
    const absl::Duration wait = std::max(RetryAfterOf(status), absl::Seconds(1));
    answer.headers.emplace_back(
        "Retry-After", fmt::format("{}", absl::ToInt64Seconds(absl::Ceil(wait, absl::Seconds(1)))));
  }
  return answer;
}

bool SseOutlet::Send(std::string json) {
  absl::MutexLock lock(&mutex_);
  return SendLocked(json);
}

void SseOutlet::End() {
  absl::MutexLock lock(&mutex_);
  EndLocked();
}

void SseOutlet::Fail(const absl::Status& status) {
  absl::MutexLock lock(&mutex_);
  if (begun_) {
    if (SendLocked(openai::Dump(openai::ErrorJson(status)))) EndLocked();
    return;
  }
  ended_ = true;
  writer_->Send(AnswerOf(status));
}

void SseOutlet::KeepAlive() {
  absl::MutexLock lock(&mutex_);
  if (ended_) return;
  BeginOnce();
  (void)writer_->Write(": waiting\n\n");  // a client that is gone cancels by itself
}

void SseOutlet::BeginOnce() {
  if (std::exchange(begun_, true)) return;
  writer_->Begin({.content_type = "text/event-stream; charset=utf-8",
                  .headers = {{"Cache-Control", "no-cache"}, {"X-Accel-Buffering", "no"}}});
}

bool SseOutlet::SendLocked(const std::string& json) {
  BeginOnce();
  return writer_->Write("data: " + json + "\n\n");
}

void SseOutlet::EndLocked() {
  if (!SendLocked("[DONE]")) return;
  ended_ = true;
  writer_->End();
}

bool JsonOutlet::Send(std::string json) {
  writer_->Send({.body = std::move(json)});
  return true;
}

void JsonOutlet::Fail(const absl::Status& status) { writer_->Send(AnswerOf(status)); }

}  // namespace baton::router
