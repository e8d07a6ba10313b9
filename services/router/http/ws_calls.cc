#include "services/router/http/ws_calls.h"

#include <utility>

#include "common/base/status.h"
#include "services/router/intake/field_error.h"
#include "services/router/openai/error_shape.h"

namespace baton::router {

using openai::Dump;
using openai::Endpoint;
using openai::Json;

namespace {
// A client sends one call and perhaps a cancel; more than this is no conversation.
constexpr size_t kTextsWaitingMax = 16;
}  // namespace

class WsCalls::CallOutlet : public openai::Outlet {
 public:
  CallOutlet(std::shared_ptr<WsCalls> calls, std::shared_ptr<openai::RunningCall> call)
      : calls_(std::move(calls)), call_(std::move(call)) {}
  bool Send(std::string json) override { return calls_->Send(std::move(json)); }
  void End() override {
    calls_->Ended(call_.get());
    (void)calls_->Send(R"({"type":"done"})");
  }
  void Fail(const absl::Status& status) override {
    calls_->Ended(call_.get());
    calls_->Refuse(status);
  }
  void Expect(size_t bytes) override { calls_->Expect(bytes); }

 private:
  const std::shared_ptr<WsCalls> calls_;
  const std::shared_ptr<openai::RunningCall> call_;
};

void WsCalls::OnText(std::string text) {
  const auto take = [&] {
    absl::MutexLock lock(&mutex_);
    if (texts_.size() >= kTextsWaitingMax) return false;
    texts_.push_back(std::move(text));
    if (std::exchange(handling_, true)) return true;
    if (spawn_([self = shared_from_this()] { self->HandleTexts(); })) return true;
    handling_ = false;
    texts_.clear();
    return false;
  };
  if (!take()) Refuse(ResourceExhausted("too many requests wait to be tokenized; try again"));
}

void WsCalls::HandleTexts() {
  for (;;) {
    std::string text;
    {
      absl::MutexLock lock(&mutex_);
      handling_ = !texts_.empty();
      if (!handling_) return;
      text = std::move(texts_.front());
      texts_.pop_front();
    }
    Handle(text);
  }
}

void WsCalls::Handle(const std::string& text) {
  auto body = api_.ParseBody(text);
  if (!body.ok()) return Refuse(body.status());
  if (body->value("type", Json()) != "cancel") return Begin(*body);
  if (CancelRunning()) (void)Send(R"({"type":"cancelled"})");
}

bool WsCalls::CancelRunning() {
  std::shared_ptr<openai::RunningCall> running;
  {
    absl::MutexLock lock(&mutex_);
    running = std::exchange(running_, nullptr);
  }
  if (running == nullptr) return false;
  running->Cancel();
  return true;
}

void WsCalls::Begin(const Json& body) {
  const Json type = body.value("type", Json());
  Endpoint endpoint = body.contains("messages") ? Endpoint::kChat : Endpoint::kCompletion;
  if (type == "chat") {
    endpoint = Endpoint::kChat;
  } else if (type == "completion") {
    endpoint = Endpoint::kCompletion;
  } else if (!type.is_null()) {
    return Refuse(FieldError("type", "type must be \"chat\", \"completion\" or \"cancel\""));
  }
  auto call = api_.Parse(endpoint, body);
  if (!call.ok()) return Refuse(call.status());
  call->stream = true;
  auto running = std::make_shared<openai::RunningCall>();
  {
    absl::MutexLock lock(&mutex_);
    if (closed_) return;
    if (running_ != nullptr) {
      return Refuse(absl::FailedPreconditionError("a call is under way on this WebSocket already"));
    }
    running_ = running;
  }
  auto outlet = std::make_shared<CallOutlet>(shared_from_this(), running);
  api_.Run(*std::move(call), context_, std::move(outlet), *running);
}

void WsCalls::Ended(const openai::RunningCall* call) {
  absl::MutexLock lock(&mutex_);
  if (running_.get() == call) running_ = nullptr;
}

void WsCalls::OnClosed() {
  {
    absl::MutexLock lock(&mutex_);
    closed_ = true;
    texts_.clear();
  }
  CancelRunning();
}

void WsCalls::Refuse(const absl::Status& status) { (void)Send(Dump(openai::ErrorJson(status))); }

bool WsCalls::Send(std::string text) {
  const std::shared_ptr<WebSocket> socket = socket_.lock();
  return socket != nullptr && socket->Send(std::move(text));
}

void WsCalls::Expect(size_t bytes) {
  if (const std::shared_ptr<WebSocket> socket = socket_.lock()) socket->Expect(bytes);
}

}  // namespace baton::router
