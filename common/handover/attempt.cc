#include "common/handover/attempt.h"

#include "absl/time/clock.h"
#include "common/handover/receiver.h"
#include "common/rpc/status.h"

namespace baton::handover {

Attempt::Attempt(Receiver& receiver, uint64_t epoch, uint64_t wire_epoch,
                 std::shared_ptr<v1::PrefillWorker::Stub> stub)
    : receiver_(receiver), epoch_(epoch), wire_epoch_(wire_epoch), stub_(std::move(stub)) {
  cancel_.mutable_cancel();
}

void Attempt::Start(std::shared_ptr<Attempt> self, v1::PrefillRequest request,
                    absl::Duration timeout) {
  self_ = std::move(self);
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

void Attempt::Cancel() {
  absl::MutexLock lock(&mutex_);
  cancel_wanted_ = true;
  WriteNext();
}

void Attempt::WriteNext() {
  if (writing_ || over_ || !start_written_ || !cancel_wanted_ || cancel_sent_) return;
  cancel_sent_ = true;
  writing_ = true;
  StartWrite(&cancel_);
}

void Attempt::OnWriteDone(bool ok) {
  absl::MutexLock lock(&mutex_);
  writing_ = false;
  start_written_ = true;
  if (ok) WriteNext();
}

void Attempt::OnReadDone(bool ok) {
  if (ok) {
    if (event_.has_finished()) {
      finished_ = std::make_unique<v1::PrefillFinished>(std::move(*event_.mutable_finished()));
    }
    StartRead(&event_);
    return;
  }
  // Nothing more will come: let the call end.
  absl::MutexLock lock(&mutex_);
  over_ = true;
  RemoveHold();
}

void Attempt::OnDone(const grpc::Status& status) {
  const auto& trailers = context_.GetServerTrailingMetadata();
  const bool fenced = trailers.find("baton-fenced") != trailers.end();
  // Moved out first: the receiver may drop its reference, and this call must outlive its own body.
  const std::shared_ptr<Attempt> keep = std::move(self_);
  receiver_.OnAttemptOver(epoch_, wire_epoch_, rpc::FromGrpc(status), fenced, std::move(finished_));
}

}  // namespace baton::handover
