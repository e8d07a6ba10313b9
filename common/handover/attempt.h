#pragma once

#include <grpcpp/grpcpp.h>

#include <memory>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "baton/v1/worker.grpc.pb.h"

namespace baton::handover {

class Receiver;

// One Prefill call to one prefill worker. Keeps itself alive until gRPC's OnDone, which tells the
// receiver how it ended. Callbacks come on gRPC threads, one at a time.
class Attempt : public grpc::ClientBidiReactor<v1::PrefillCommand, v1::PrefillEvent> {
 public:
  Attempt(Receiver& receiver, uint64_t epoch, uint64_t wire_epoch,
          std::shared_ptr<v1::PrefillWorker::Stub> stub);

  // Sends `request` and begins to listen. `self` is dropped in OnDone.
  void Start(std::shared_ptr<Attempt> self, v1::PrefillRequest request, absl::Duration timeout);
  // Asks the worker to stop; the call still ends by itself, fenced. Any thread.
  void Cancel();
  // Ends the call at once, unfenced. Any thread.
  void Abort() { context_.TryCancel(); }

 private:
  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnDone(const grpc::Status& status) override;
  // One write at a time: the next one in line is started when the last is done.
  void WriteNext() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  Receiver& receiver_;
  const uint64_t epoch_;
  const uint64_t wire_epoch_;
  const std::shared_ptr<v1::PrefillWorker::Stub> stub_;
  grpc::ClientContext context_;
  std::shared_ptr<Attempt> self_;
  v1::PrefillCommand start_;
  v1::PrefillCommand cancel_;
  v1::PrefillEvent event_;
  std::unique_ptr<v1::PrefillFinished> finished_;
  absl::Mutex mutex_;
  bool start_written_ ABSL_GUARDED_BY(mutex_) = false;
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool cancel_wanted_ ABSL_GUARDED_BY(mutex_) = false;
  bool cancel_sent_ ABSL_GUARDED_BY(mutex_) = false;
  bool over_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace baton::handover
