#pragma once

#include <grpcpp/grpcpp.h>

#include <memory>
#include <string>

#include "baton/v1/cluster.grpc.pb.h"
#include "common/rpc/credentials.h"
#include "common/worker/report_stream.h"

namespace baton::worker {

// A ReportStream as a Cluster.Attach call. Once started it keeps itself alive until OnDone. The
// listener is called on gRPC threads.
class AttachStream : public ReportStream,
                     public std::enable_shared_from_this<AttachStream>,
                     private grpc::ClientBidiReactor<v1::WorkerReport, v1::RouterNotice> {
 public:
  // Streams to one router; they share a connection.
  static ReportStreamOpener To(const std::string& address,
                               const rpc::Credentials& credentials = {});

  AttachStream(ReportStreamListener& listener, std::shared_ptr<v1::Cluster::Stub> stub)
      : listener_(listener), stub_(std::move(stub)) {}

  void Start() override;
  void Write(v1::WorkerReport report) override;
  void Cancel() override { context_.TryCancel(); }

 private:
  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnDone(const grpc::Status& status) override;

  ReportStreamListener& listener_;
  const std::shared_ptr<v1::Cluster::Stub> stub_;
  grpc::ClientContext context_;
  std::shared_ptr<AttachStream> self_;
  v1::WorkerReport report_;
  v1::RouterNotice notice_;
};

}  // namespace baton::worker
