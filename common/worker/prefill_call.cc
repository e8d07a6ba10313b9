#include "common/worker/prefill_call.h"

#include "common/rpc/status.h"

namespace baton::worker {

PrefillCall::PrefillCall(PrefillServer& server, grpc::CallbackServerContext& context)
    : server_(server), context_(context) {
  alive_.mutable_alive();
  StartRead(&command_);
}

void PrefillCall::OnReadDone(bool ok) {
  if (!ok) {
    if (started_) return Stop("the caller has hung up");
    return OnOver(absl::CancelledError("no request came"));
  }
  if (command_.has_start() && !started_) {
    started_ = true;
    Start(command_.start());
  } else {
    Stop("cancelled by the decode worker");
  }
  StartRead(&command_);
}

void PrefillCall::Start(const v1::PrefillRequest& request) {
  const absl::StatusOr<uint64_t> handover = server_.Begin(
      request, [this](absl::StatusOr<v1::PrefillFinished> result) { OnOver(std::move(result)); },
      [this] { OnAlive(); });
  if (!handover.ok()) return OnOver(handover.status());
  absl::MutexLock lock(&mutex_);
  handover_ = *handover;
  if (ended_ || end_) return;
  accepted_.mutable_accepted();
  writing_ = true;
  StartWrite(&accepted_);
}

// A caller that goes while Start() is at work is noticed again by the read after it.
void PrefillCall::Stop(std::string_view why) {
  std::optional<uint64_t> handover;
  {
    absl::MutexLock lock(&mutex_);
    handover = handover_;
  }
  if (handover) server_.Stop(*handover, why);
}

void PrefillCall::OnCancel() { Stop("the connection to the caller broke"); }

void PrefillCall::OnWriteDone(bool) {
  absl::Status status;
  {
    absl::MutexLock lock(&mutex_);
    writing_ = false;
    if (!TakeEnd()) return;
    status = *end_;
  }
  End(status);
}

// Whatever is being written says so as well.
void PrefillCall::OnAlive() {
  absl::MutexLock lock(&mutex_);
  if (writing_ || end_ || !handover_) return;
  writing_ = true;
  StartWrite(&alive_);
}

// On the engine, transfer or a gRPC thread; exactly once.
void PrefillCall::OnOver(absl::StatusOr<v1::PrefillFinished> result) {
  const absl::Status status = result.status();
  {
    absl::MutexLock lock(&mutex_);
    if (result.ok()) *finished_.mutable_finished() = *std::move(result);
    end_ = status;
    if (!TakeEnd()) return;
  }
  End(status);
}

bool PrefillCall::TakeEnd() {
  if (!end_ || writing_ || ended_) return false;
  return ended_ = true;
}

void PrefillCall::End(const absl::Status& status) {
  context_.AddTrailingMetadata("baton-fenced", "1");
  if (status.ok()) {
    StartWriteAndFinish(&finished_, grpc::WriteOptions(), grpc::Status::OK);
  } else {
    Finish(rpc::ToGrpc(status));
  }
}

}  // namespace baton::worker
