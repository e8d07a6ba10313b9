#include "baton/generation.h"

#include "generation_call.h"

namespace baton::sdk {
namespace {

// False for an event this SDK does not know (a newer server's): skipped.
bool Translate(v1::GenerateEvent& from, Event& to) {
  to = Event{};
  switch (from.event_case()) {
    case v1::GenerateEvent::kStarted:
      to.kind = Event::Kind::kStarted;
      to.started = std::move(*from.mutable_started());
      return true;
    case v1::GenerateEvent::kDelta:
      to.kind = Event::Kind::kText;
      to.index = from.delta().index();
      to.text = std::move(*from.mutable_delta()->mutable_text());
      to.tokens.assign(from.delta().tokens().begin(), from.delta().tokens().end());
      to.prompt.assign(from.delta().prompt().begin(), from.delta().prompt().end());
      return true;
    case v1::GenerateEvent::kFinished:
      to.kind = Event::Kind::kFinished;
      to.index = from.finished().index();
      to.finish = from.finished().reason();
      to.message = from.finished().message();
      to.stop = from.finished().stop();
      return true;
    case v1::GenerateEvent::kUsage:
      to.kind = Event::Kind::kUsage;
      to.usage = from.usage();
      return true;
    default:
      return false;
  }
}

}  // namespace

Generation::Call::Call(v1::Inference::Stub& stub, const ClientOptions& options,
                       v1::GenerateRequest request, std::chrono::milliseconds timeout)
    : stub_(stub),
      request_(std::move(request)),
      api_key_(options.api_key),
      retry_(options, timeout) {
  Start();
}

void Generation::Call::Start() {
  auto attempt = std::make_unique<Attempt>();
  AddKey(api_key_, attempt->context);
  if (retry_.has_deadline()) attempt->context.set_deadline(retry_.deadline());
  attempt->reader = stub_.Generate(&attempt->context, request_);
  std::lock_guard lock(mutex_);
  attempt_ = std::move(attempt);
  if (cancelled_) attempt_->context.TryCancel();
}

bool Generation::Call::StartAgain() {
  std::chrono::milliseconds pause{0};
  if (begun_ || !retry_.Again(error, pause)) return false;
  {
    std::unique_lock lock(mutex_);
    if (cancel_news_.wait_for(lock, pause, [this] { return cancelled_; })) {
      error = Error{ErrorCode::kCancelled, "cancelled by the client", {}};
      return false;
    }
  }
  error = Error{};
  Start();
  return true;
}

bool Generation::Call::Next(Event& event) {
  v1::GenerateEvent wire;
  while (!ended_) {
    while (attempt_->reader->Read(&wire)) {
      begun_ = true;
      if (Translate(wire, event)) return true;
    }
    const grpc::Status status = attempt_->reader->Finish();
    error = ErrorOf(status, attempt_->context);
    ended_ = !error || !StartAgain();
  }
  return false;
}

void Generation::Call::Cancel() {
  std::lock_guard lock(mutex_);
  cancelled_ = true;
  cancel_news_.notify_all();
  attempt_->context.TryCancel();
}

Generation::Generation(std::unique_ptr<Call> call) : call_(std::move(call)) {}
Generation::Generation(Generation&&) noexcept = default;
Generation& Generation::operator=(Generation&& other) noexcept {
  if (this != &other) {
    Generation old(std::move(*this));  // cancels what ran here
    call_ = std::move(other.call_);
  }
  return *this;
}

Generation::~Generation() {
  if (call_ == nullptr) return;
  call_->Cancel();
  Event rest;
  while (call_->Next(rest)) {
  }
}

bool Generation::Next(Event& event) { return call_->Next(event); }
const Error& Generation::error() const { return call_->error; }
void Generation::Cancel() { call_->Cancel(); }

}  // namespace baton::sdk
