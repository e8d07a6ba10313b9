#pragma once

#include <grpcpp/grpcpp.h>

#include <optional>
#include <string_view>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "baton/v1/worker.grpc.pb.h"
#include "common/worker/prefill_server.h"

namespace baton::worker {

// One Prefill call. Ends only when no write of its epoch is under way, with the trailing metadata
// that says so. Deletes itself in OnDone.
class PrefillCall : public grpc::ServerBidiReactor<v1::PrefillCommand, v1::PrefillEvent> {
 public:
  PrefillCall(PrefillServer& server, grpc::CallbackServerContext& context);

 private:
  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override { delete this; }

  void Start(const v1::PrefillRequest& request);
  void Stop(std::string_view why);
  void OnAlive();
  void OnOver(absl::StatusOr<v1::PrefillFinished> result);
  // True once, when the end is known and nothing else is being written: the caller unlocks, then
  // End()s.
  bool TakeEnd() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // The last thing done with this object outside of gRPC's callbacks: OnDone may delete it
  // meanwhile.
  void End(const absl::Status& status);

  PrefillServer& server_;
  grpc::CallbackServerContext& context_;
  v1::PrefillCommand command_;
  v1::PrefillEvent accepted_;
  v1::PrefillEvent alive_;
  v1::PrefillEvent finished_;
  bool started_ = false;  // read side only
  absl::Mutex mutex_;
  std::optional<uint64_t> handover_ ABSL_GUARDED_BY(mutex_);
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
  std::optional<absl::Status> end_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace baton::worker
