#pragma once

#include <grpcpp/grpcpp.h>

#include <memory>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "baton/v1/worker.grpc.pb.h"
#include "common/handover/attempt.h"

namespace baton::handover {

// An Attempt as a PrefillWorker.Prefill call. Once started it keeps itself alive until gRPC's
// OnDone. The listener is called on gRPC threads.
class GrpcAttempt : public Attempt,
                    public std::enable_shared_from_this<GrpcAttempt>,
                    private grpc::ClientBidiReactor<v1::PrefillCommand, v1::PrefillEvent> {
 public:
  GrpcAttempt(const AttemptId& id, AttemptListener& listener,
              std::shared_ptr<v1::PrefillWorker::Stub> stub);

  void Start(v1::PrefillRequest request, absl::Duration timeout) override;
  void Cancel() override;
  void Abort() override { context_.TryCancel(); }

 private:
  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnDone(const grpc::Status& status) override;
  // One write at a time: the next one in line is started when the last is done.
  void WriteNext() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const AttemptId id_;
  AttemptListener& listener_;
  const std::shared_ptr<v1::PrefillWorker::Stub> stub_;
  grpc::ClientContext context_;
  std::shared_ptr<GrpcAttempt> self_;
  v1::PrefillCommand start_;
  v1::PrefillCommand cancel_;
  v1::PrefillEvent event_;
  absl::Mutex mutex_;
  bool start_written_ ABSL_GUARDED_BY(mutex_) = false;
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool cancel_wanted_ ABSL_GUARDED_BY(mutex_) = false;
  bool cancel_sent_ ABSL_GUARDED_BY(mutex_) = false;
  bool over_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace baton::handover
