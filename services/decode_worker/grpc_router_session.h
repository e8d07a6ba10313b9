#pragma once

#include <grpcpp/grpcpp.h>

#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "baton/v1/worker.grpc.pb.h"
#include "services/decode_worker/router_session.h"

namespace baton::decode_worker {

class DecodeWorker;

// One router's Serve stream: commands in, one message per step out. While a message is on its way,
// later news gathers in the next one. A router that does not read is cut off when kDeltasMax or
// kBytesMax is reached. Deletes itself in OnDone.
class GrpcRouterSession : public RouterSession,
                          public grpc::ServerBidiReactor<v1::DecodeCommand, v1::DecodeEvent> {
 public:
  static constexpr int kDeltasMax = 1 << 16;
  static constexpr size_t kBytesMax = 32 << 20;  // well below what a message may have

  GrpcRouterSession(DecodeWorker& worker, std::string peer);

  void Add(v1::SequenceDelta delta) override;
  void Flush() override;
  void Close(const absl::Status& status) override;
  const std::string& peer() const override { return peer_; }

 private:
  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;
  void FlushLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void FinishOnce(const grpc::Status& status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  DecodeWorker& worker_;
  const std::string peer_;
  v1::DecodeCommand command_;
  absl::Mutex mutex_;
  v1::DecodeEvent gathering_ ABSL_GUARDED_BY(mutex_);
  size_t gathering_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  v1::DecodeEvent sending_;  // gRPC's while writing_
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace baton::decode_worker
