#include "services/decode_worker/router_session.h"

#include "services/decode_worker/decode_worker.h"

namespace baton::decode_worker {

RouterSession::RouterSession(DecodeWorker& worker, std::string peer)
    : worker_(worker), peer_(std::move(peer)) {
  StartRead(&command_);
}

void RouterSession::Add(v1::SequenceDelta delta) {
  absl::MutexLock lock(&mutex_);
  if (finished_) return;
  gathering_bytes_ += delta.ByteSizeLong();
  if (gathering_.deltas_size() >= kDeltasMax || gathering_bytes_ > kBytesMax) {
    return FinishOnce(
        {grpc::StatusCode::RESOURCE_EXHAUSTED, "the router does not read its stream"});
  }
  *gathering_.add_deltas() = std::move(delta);
}

void RouterSession::Flush() {
  absl::MutexLock lock(&mutex_);
  FlushLocked();
}

void RouterSession::Close(const grpc::Status& status) {
  absl::MutexLock lock(&mutex_);
  FinishOnce(status);
}

void RouterSession::FlushLocked() {
  if (writing_ || finished_ || gathering_.deltas_size() == 0) return;
  writing_ = true;
  sending_.Swap(&gathering_);
  gathering_.Clear();
  gathering_bytes_ = 0;
  StartWrite(&sending_);
}

void RouterSession::FinishOnce(const grpc::Status& status) {
  if (finished_) return;
  finished_ = true;
  Finish(status);
}

void RouterSession::OnReadDone(bool ok) {
  if (!ok) return Close(grpc::Status::OK);  // the router has hung up
  if (command_.has_submit()) worker_.Submit(*this, command_.submit());
  if (command_.has_cancel()) worker_.Cancel(*this, command_.cancel());
  StartRead(&command_);
}

void RouterSession::OnWriteDone(bool ok) {
  absl::MutexLock lock(&mutex_);
  writing_ = false;
  if (ok) FlushLocked();
}

void RouterSession::OnCancel() { Close(grpc::Status::CANCELLED); }

void RouterSession::OnDone() {
  worker_.Detach(*this);
  delete this;
}

}  // namespace baton::decode_worker
