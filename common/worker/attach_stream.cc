#include "common/worker/attach_stream.h"

#include "common/worker/router_link.h"

namespace baton::worker {

void AttachStream::Start(std::shared_ptr<AttachStream> self, v1::Cluster::Stub& stub) {
  self_ = std::move(self);
  stub.async()->Attach(&context_, this);
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
    link_.OnEnding();  // before the hold goes: a write after it would be one too many
    RemoveHold();
    return;
  }
  link_.OnNotice(notice_);
  StartRead(&notice_);
}

void AttachStream::OnWriteDone(bool ok) {
  if (ok) link_.OnWritten();
}

void AttachStream::OnDone(const grpc::Status& status) {
  const std::shared_ptr<AttachStream> keep = std::move(self_);
  link_.OnClosed(status.error_message());
}

}  // namespace baton::worker
