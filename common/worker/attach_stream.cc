#include "common/worker/attach_stream.h"

#include "common/rpc/channel.h"

namespace baton::worker {

ReportStreamOpener AttachStream::To(const std::string& address,
                                    const rpc::Credentials& credentials) {
  const std::shared_ptr<v1::Cluster::Stub> stub =
      v1::Cluster::NewStub(rpc::PeerChannel(address, credentials, rpc::Role::kRouter));
  return [stub](ReportStreamListener& listener) {
    return std::make_shared<AttachStream>(listener, stub);
  };
}

void AttachStream::Start() {
  self_ = shared_from_this();
  stub_->async()->Attach(&context_, this);
  StartRead(&notice_);
  // Writes come from outside gRPC's callbacks at any time: held until the read side says it is
  // over.
  AddHold();
  StartCall();
}

void AttachStream::Write(v1::WorkerReport report) {
  report_ = std::move(report);
  StartWrite(&report_);
}

void AttachStream::OnReadDone(bool ok) {
  if (!ok) {
    listener_.OnEnding();  // before the hold goes: a write after it would be one too many
    RemoveHold();
    return;
  }
  listener_.OnNotice(notice_);
  StartRead(&notice_);
}

void AttachStream::OnWriteDone(bool ok) {
  if (ok) listener_.OnWritten();
}

void AttachStream::OnDone(const grpc::Status& status) {
  const std::shared_ptr<AttachStream> keep = std::move(self_);
  listener_.OnClosed(status.error_message());
}

}  // namespace baton::worker
