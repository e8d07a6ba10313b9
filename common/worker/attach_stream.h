#pragma once

#include <grpcpp/grpcpp.h>

#include <memory>

#include "baton/v1/cluster.grpc.pb.h"

namespace baton::worker {

class RouterLink;

// One Attach call. Passes everything on to its link, which outlives it. Keeps itself alive until
// OnDone.
class AttachStream : public grpc::ClientBidiReactor<v1::WorkerReport, v1::RouterNotice> {
 public:
  explicit AttachStream(RouterLink& link) : link_(link) {}

  void Start(std::shared_ptr<AttachStream> self, v1::Cluster::Stub& stub);
  // The report is copied; one at a time.
  void Write(v1::WorkerReport report);
  void Cancel() { context_.TryCancel(); }

 private:
  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnDone(const grpc::Status& status) override;

  RouterLink& link_;
  grpc::ClientContext context_;
  std::shared_ptr<AttachStream> self_;
  v1::WorkerReport report_;
  v1::RouterNotice notice_;
};

}  // namespace baton::worker
