#pragma once

#include <grpcpp/grpcpp.h>

#include <deque>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "baton/v1/worker.grpc.pb.h"
#include "common/rpc/credentials.h"
#include "services/router/dispatch/decode_link.h"

namespace baton::router {

// A DecodeLink as a DecodeWorker.Serve call. Keeps itself alive until gRPC is done with it; its
// listener is called on gRPC threads.
class GrpcDecodeLink : public DecodeLink,
                       private grpc::ClientBidiReactor<v1::DecodeCommand, v1::DecodeEvent> {
 public:
  static DecodeLinkOpener Opener(rpc::Credentials credentials);

  const WorkerId& worker() const override { return worker_; }
  bool connected() override;
  [[nodiscard]] bool Send(v1::DecodeCommand command) override;
  void Close() override { context_.TryCancel(); }

 private:
  GrpcDecodeLink(const WorkerId& worker, const std::string& address,
                 const rpc::Credentials& credentials, DecodeLinkListener& listener);
  void Start(std::shared_ptr<GrpcDecodeLink> self);
  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnDone(const grpc::Status& status) override;
  void WriteNext() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const WorkerId worker_;
  DecodeLinkListener& listener_;
  const std::shared_ptr<grpc::Channel> channel_;
  const std::unique_ptr<v1::DecodeWorker::Stub> stub_;
  grpc::ClientContext context_;
  v1::DecodeEvent event_;
  std::shared_ptr<GrpcDecodeLink> self_;  // until OnDone

  absl::Mutex mutex_;
  std::deque<v1::DecodeCommand> commands_ ABSL_GUARDED_BY(mutex_);  // front: being written
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool broken_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace baton::router
