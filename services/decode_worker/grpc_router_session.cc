#include "services/decode_worker/grpc_router_session.h"

#include "common/rpc/status.h"
#include "services/decode_worker/decode_worker.h"

namespace baton::decode_worker {

GrpcRouterSession::GrpcRouterSession(DecodeWorker& worker, std::string peer)
    : worker_(worker), peer_(std::move(peer)) {
  worker_.Attach(*this);
  StartRead(&command_);
}

void GrpcRouterSession::Add(v1::SequenceDelta delta) {
  absl::MutexLock lock(&mutex_);
  if (finished_) return;
  gathering_bytes_ += delta.ByteSizeLong();
  if (gathering_.deltas_size() >= kDeltasMax || gathering_bytes_ > kBytesMax) {
    return FinishOnce(
        {grpc::StatusCode::RESOURCE_EXHAUSTED, "the router does not read its stream"});
  }
  *gathering_.add_deltas() = std::move(delta);
}

void GrpcRouterSession::Flush() {
  absl::MutexLock lock(&mutex_);
  FlushLocked();
}

void GrpcRouterSession::Close(const absl::Status& status) {
  absl::MutexLock lock(&mutex_);
  FinishOnce(rpc::ToGrpc(status));
}

void GrpcRouterSession::FlushLocked() {
  if (writing_ || finished_ || gathering_.deltas_size() == 0) return;
  writing_ = true;
  sending_.Swap(&gathering_);
  gathering_.Clear();
  gathering_bytes_ = 0;
  StartWrite(&sending_);
}

void GrpcRouterSession::FinishOnce(const grpc::Status& status) {
  if (finished_) return;
  finished_ = true;
  Finish(status);
}

void GrpcRouterSession::OnReadDone(bool ok) {
  if (!ok) return Close(absl::OkStatus());  // the router has hung up
  if (command_.has_submit()) worker_.Submit(*this, command_.submit());
  if (command_.has_cancel()) worker_.Cancel(*this, command_.cancel());
  if (command_.has_leave()) worker_.Leave(command_.leave());
  StartRead(&command_);
}

void GrpcRouterSession::OnWriteDone(bool ok) {
  absl::MutexLock lock(&mutex_);
  writing_ = false;
  if (ok) FlushLocked();
}

void GrpcRouterSession::OnCancel() {
  Close(absl::CancelledError("the connection to the router broke"));
}

void GrpcRouterSession::OnDone() {
  worker_.Detach(*this);
  delete this;
}

}  // namespace baton::decode_worker
