#include "services/router/http/sse_outlet.h"

#include <algorithm>

#include "services/router/intake/field_error.h"
#include "services/router/openai/error_shape.h"

namespace baton::router {

HttpAnswer AnswerOf(const absl::Status& status) {
  HttpAnswer answer{.status = openai::HttpStatusOf(status),
                    .body = openai::Dump(openai::ErrorJson(status))};
  if (answer.status == 429 || answer.status == 503) {
    const absl::Duration wait = std::max(RetryAfterOf(status), absl::Seconds(1));
    answer.headers.emplace_back(
        "Retry-After", fmt::format("{}", absl::ToInt64Seconds(absl::Ceil(wait, absl::Seconds(1)))));
  }
  return answer;
}

bool SseOutlet::Send(std::string json) {
  if (!begun_) {
    begun_ = true;
    writer_->Begin({.content_type = "text/event-stream; charset=utf-8",
                    .headers = {{"Cache-Control", "no-cache"}, {"X-Accel-Buffering", "no"}}});
  }
  return writer_->Write("data: " + json + "\n\n");
}

void SseOutlet::End() {
  if (Send("[DONE]")) writer_->End();
}

void SseOutlet::Fail(const absl::Status& status) {
  if (!begun_) return writer_->Send(AnswerOf(status));
  if (Send(openai::Dump(openai::ErrorJson(status)))) End();
}

bool JsonOutlet::Send(std::string json) {
  writer_->Send({.body = std::move(json)});
  return true;
}

void JsonOutlet::Fail(const absl::Status& status) { writer_->Send(AnswerOf(status)); }

}  // namespace baton::router
