#include "services/router/grpc/generate_call.h"

#include <utility>

#include "common/rpc/status.h"
#include "services/router/grpc/metadata.h"
#include "services/router/grpc/request_convert.h"
#include "services/router/intake/field_error.h"

namespace baton::router {
namespace {

// Of one token with its log-probability in a message, generously.
constexpr size_t kLogprobBytes = 24;

void AddTrailers(const absl::Status& status, grpc::CallbackServerContext& context) {
  if (const absl::Duration wait = RetryAfterOf(status); wait > absl::ZeroDuration()) {
    context.AddTrailingMetadata("retry-after-ms",
                                fmt::format("{}", absl::ToInt64Milliseconds(wait)));
  }
  if (const std::string field = FieldOf(status); !field.empty()) {
    context.AddTrailingMetadata("baton-field", field);
  }
}

}  // namespace

GenerateCall* GenerateCall::Begin(const Options& options, grpc::CallbackServerContext& context,
                                  const v1::GenerateRequest& request,
                                  const absl::StatusOr<std::string>& tenant, const Intake& intake,
                                  Dispatcher& dispatcher, OpenCalls& open) {
  const bool with_tokens = request.return_token_ids() || request.sampling().has_logprobs();
  std::shared_ptr<GenerateCall> call(new GenerateCall(options, context, with_tokens, open));
  open.Begin();
  call->self_ = call;
  auto accepted = tenant.ok() ? call->Accept(request, *tenant, intake, dispatcher)
                              : absl::StatusOr<AcceptedRequest>(tenant.status());
  if (accepted.ok()) {
    call->Fly(*std::move(accepted), dispatcher);
  } else {
    absl::MutexLock lock(&call->mutex_);
    call->End(accepted.status());
  }
  return call.get();
}

absl::StatusOr<AcceptedRequest> GenerateCall::Accept(const v1::GenerateRequest& request,
                                                     const std::string& tenant,
                                                     const Intake& intake,
                                                     const Dispatcher& dispatcher) const {
  RETURN_IF_ERROR(dispatcher.CheckRoom(intake.NameOf(request.model()), tenant, request.priority()));
  if (request.prompt_case() == v1::GenerateRequest::PROMPT_NOT_SET) {
    return FieldError("prompt", "prompt is missing: one of text, token_ids, chat");
  }
  ClientRequest client = FromProto(request);
  client.request_id = Metadata(context_, "x-request-id");
  client.traceparent = Metadata(context_, "traceparent");
  client.tracestate = Metadata(context_, "tracestate");
  client.tenant = tenant;
  client.timeout = options_.request_timeout;
  const auto deadline = context_.deadline();
  if (deadline != std::chrono::system_clock::time_point::max()) {
    const absl::Duration left = absl::FromChrono(deadline) - absl::Now();
    client.timeout = std::min(client.timeout, std::max(left, absl::Milliseconds(1)));
  }
  return intake.Accept(std::move(client));
}

void GenerateCall::Fly(AcceptedRequest request, Dispatcher& dispatcher) {
  {
    absl::MutexLock lock(&mutex_);
    shown_ = AcceptedRequest{.model = request.model, .sampling = request.sampling};
    // These come as fast as the prompt is computed, which is no fault of the client.
    unsent_bytes_max_ += request.prompt_logprob_values() * kLogprobBytes;
  }
  std::shared_ptr<Flight> flight = dispatcher.Start(std::move(request), shared_from_this());
  bool gone = false;
  {
    absl::MutexLock lock(&mutex_);
    gone = gone_;
    flight_ = flight;
  }
  if (gone) flight->Cancel();
}

bool GenerateCall::OnEvents(std::vector<Event> events) {
  absl::MutexLock lock(&mutex_);
  if (gone_) return false;
  for (const Event& event : events) {
    if (const auto* failed = std::get_if<Failed>(&event)) {
      End(failed->status);
      continue;
    }
    messages_.push_back(ToProto(event, *shown_, with_tokens_));
    unsent_bytes_ += messages_.back().ByteSizeLong();
    if (std::holds_alternative<Completed>(event)) End(absl::OkStatus());
  }
  if (unsent_bytes_ > unsent_bytes_max_) {
    gone_ = true;
    End(ResourceExhausted("the client left {} bytes unread, the limit", unsent_bytes_));
    return false;
  }
  WriteNext();
  return true;
}

void GenerateCall::OnWriteDone(bool ok) {
  absl::MutexLock lock(&mutex_);
  writing_ = false;
  unsent_bytes_ -= messages_.front().ByteSizeLong();
  messages_.pop_front();
  if (!ok) gone_ = true;
  WriteNext();
}

void GenerateCall::OnCancel() {
  std::shared_ptr<Flight> flight;
  {
    absl::MutexLock lock(&mutex_);
    gone_ = true;
    flight = std::exchange(flight_, nullptr);
    if (!finished_) End(absl::CancelledError("cancelled by the client"));
  }
  if (flight != nullptr) flight->Cancel();
}

void GenerateCall::OnDone() {
  std::shared_ptr<Flight> flight;
  {
    absl::MutexLock lock(&mutex_);
    flight = std::exchange(flight_, nullptr);
  }
  OpenCalls& open = open_;
  const std::shared_ptr<GenerateCall> self = std::move(self_);
  open.End();
}

// After the messages that wait; at once when nobody will read them.
void GenerateCall::End(const absl::Status& status) {
  if (!ending_) ending_ = status;
  WriteNext();
}

void GenerateCall::WriteNext() {
  if (writing_ || finished_) return;
  if (!gone_ && !messages_.empty()) {
    writing_ = true;
    return StartWrite(&messages_.front());
  }
  if (!ending_ && !gone_) return;
  finished_ = true;
  const absl::Status status = ending_.value_or(absl::CancelledError("the client is gone"));
  AddTrailers(status, context_);
  Finish(rpc::ToGrpc(status));
}

}  // namespace baton::router
