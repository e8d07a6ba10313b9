#include "common/handover/grpc_attempt.h"

#include "absl/time/clock.h"
#include "common/rpc/status.h"

namespace baton::handover {

GrpcAttempt::GrpcAttempt(const AttemptId& id, AttemptListener& listener,
                         std::shared_ptr<v1::PrefillWorker::Stub> stub)
    : id_(id), listener_(listener), stub_(std::move(stub)) {
  cancel_.mutable_cancel();
}

void GrpcAttempt::Start(v1::PrefillRequest request, absl::Duration timeout) {
  self_ = shared_from_this();
  *start_.mutable_start() = std::move(request);
  context_.set_deadline(absl::ToChronoTime(absl::Now() + timeout));
  stub_->async()->Prefill(&context_, this);
  StartRead(&event_);
  {
    absl::MutexLock lock(&mutex_);
    writing_ = true;
    StartWrite(&start_);
  }
  // A cancel may come at any time until OnDone, from outside gRPC's callbacks.
  AddHold();
  StartCall();
}

void GrpcAttempt::Cancel() {
  absl::MutexLock lock(&mutex_);
  cancel_wanted_ = true;
  WriteNext();
}

void GrpcAttempt::WriteNext() {
  if (writing_ || over_ || !start_written_ || !cancel_wanted_ || cancel_sent_) return;
  cancel_sent_ = true;
  writing_ = true;
  StartWrite(&cancel_);
}

void GrpcAttempt::OnWriteDone(bool ok) {
  absl::MutexLock lock(&mutex_);
  writing_ = false;
  start_written_ = true;
  if (ok) WriteNext();
}

void GrpcAttempt::OnReadDone(bool ok) {
  if (ok) {
    listener_.OnAttemptEvent(id_, std::move(event_));
    event_.Clear();
    StartRead(&event_);
    return;
  }
  // Nothing more will come: let the call end.
  absl::MutexLock lock(&mutex_);
  over_ = true;
  RemoveHold();
}

void GrpcAttempt::OnDone(const grpc::Status& status) {
  const auto& trailers = context_.GetServerTrailingMetadata();
  const bool fenced = trailers.find("baton-fenced") != trailers.end();
  // Moved out first: the listener may drop its reference, and this call must outlive its own body.
  const std::shared_ptr<GrpcAttempt> keep = std::move(self_);
  listener_.OnAttemptOver(id_, rpc::FromGrpc(status), fenced);
}

}  // namespace baton::handover
