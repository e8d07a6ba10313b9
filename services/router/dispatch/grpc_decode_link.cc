#include "services/router/dispatch/grpc_decode_link.h"

#include "common/rpc/channel.h"
#include "common/rpc/status.h"

namespace baton::router {

DecodeLinkOpener GrpcDecodeLink::Opener(rpc::Credentials credentials) {
  return [credentials = std::move(credentials)](
             const WorkerId& worker, const std::string& address,
             DecodeLinkListener& listener) -> std::shared_ptr<DecodeLink> {
    std::shared_ptr<GrpcDecodeLink> link(
        new GrpcDecodeLink(worker, address, credentials, listener));
    link->Start(link);
    return link;
  };
}

void GrpcDecodeLink::Start(std::shared_ptr<GrpcDecodeLink> self) {
  self_ = std::move(self);
  stub_->async()->Serve(&context_, this);
  // Writes are started from other threads than gRPC's: a hold keeps OnDone away until reads have
  // ended and no further write can be started.
  AddHold();
  StartRead(&event_);
  StartCall();
}

GrpcDecodeLink::GrpcDecodeLink(const WorkerId& worker, const std::string& address,
                               const rpc::Credentials& credentials, DecodeLinkListener& listener)
    : worker_(worker),
      listener_(listener),
      channel_(rpc::PeerChannel(address, credentials)),
      stub_(v1::DecodeWorker::NewStub(channel_)) {}

bool GrpcDecodeLink::connected() {
  {
    absl::MutexLock lock(&mutex_);
    if (broken_) return false;
  }
  return channel_->GetState(/*try_to_connect=*/false) == GRPC_CHANNEL_READY;
}

bool GrpcDecodeLink::Send(v1::DecodeCommand command) {
  absl::MutexLock lock(&mutex_);
  if (broken_) return false;
  commands_.push_back(std::move(command));
  WriteNext();
  return true;
}

void GrpcDecodeLink::OnReadDone(bool ok) {
  if (ok) {
    listener_.OnEvent(*this, event_);
    StartRead(&event_);
    return;
  }
  {
    absl::MutexLock lock(&mutex_);
    broken_ = true;
    // The one being written is gRPC's until OnWriteDone.
    while (commands_.size() > (writing_ ? 1 : 0)) commands_.pop_back();
  }
  RemoveHold();
}

void GrpcDecodeLink::OnWriteDone(bool ok) {
  absl::MutexLock lock(&mutex_);
  writing_ = false;
  if (broken_) return;
  commands_.pop_front();
  if (ok) WriteNext();
}

void GrpcDecodeLink::WriteNext() {
  if (writing_ || commands_.empty()) return;
  writing_ = true;
  StartWrite(&commands_.front());
}

void GrpcDecodeLink::OnDone(const grpc::Status& status) {
  const std::shared_ptr<GrpcDecodeLink> self = std::move(self_);
  listener_.OnBroken(
      *this, status.ok() ? Unavailable("the worker ended the stream") : rpc::FromGrpc(status));
}

}  // namespace baton::router
