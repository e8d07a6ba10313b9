#pragma once

#include <grpcpp/grpcpp.h>

#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "baton/v1/worker.grpc.pb.h"
#include "common/base/status.h"
#include "common/rpc/server.h"
#include "common/transfer/loopback/loopback_transport.h"

namespace baton::handover {

// How long a test waits for what must come; only a failing test ever waits so long.
constexpr absl::Duration kTestPatience = absl::Seconds(20);

// One Prefill call as the prefill worker sees it. The test answers it; any thread.
class FakePrefillCall : public grpc::ServerBidiReactor<v1::PrefillCommand, v1::PrefillEvent> {
 public:
  explicit FakePrefillCall(grpc::CallbackServerContext& context) : context_(context) {}

  // Valid once the peer has handed the call out.
  const v1::PrefillRequest& request() const { return start_.start(); }

  // Sends one event and returns when gRPC has taken it.
  void Send(v1::PrefillEvent event);
  // Ends the call; `fenced` as a worker does that has stopped writing. Only the first end counts.
  void End(const absl::Status& status, bool fenced);
  // The connection breaks: no status, no trailers.
  void Break();

  // False when it does not happen in time.
  bool AwaitCancel();  // the command
  int32_t cancels();
  bool AwaitHangUp();  // the caller ended the call, or its time was up

 private:
  friend class FakePrefillPeer;
  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override { self_ = nullptr; }
  bool AwaitFlag(const bool* flag);

  grpc::CallbackServerContext& context_;
  std::function<void()> on_start_;
  std::shared_ptr<FakePrefillCall> self_;  // until OnDone
  v1::PrefillCommand start_;
  v1::PrefillCommand command_;
  v1::PrefillEvent event_;
  absl::Mutex mutex_;
  bool started_ ABSL_GUARDED_BY(mutex_) = false;
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool cancel_asked_ ABSL_GUARDED_BY(mutex_) = false;
  int32_t cancels_ ABSL_GUARDED_BY(mutex_) = 0;
  bool hung_up_ ABSL_GUARDED_BY(mutex_) = false;
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
};

// A prefill worker with a real server and a loopback transport, and nobody but the test inside.
class FakePrefillPeer : public v1::PrefillWorker::CallbackService {
 public:
  enum class Fences : uint8_t { kAnswer, kFail, kHold };

  FakePrefillPeer(transfer::LoopbackFabric& fabric, std::string worker_id);
  ~FakePrefillPeer() override;

  v1::PrefillTarget target() const;
  transfer::LoopbackTransport& transport() { return *transport_; }

  // The next call that has said what it wants; null when none comes in time.
  std::shared_ptr<FakePrefillCall> NextCall();
  int32_t calls() const;

  // What becomes of Fence calls from now on; those on hold are answered with kAnswer.
  void SetFences(Fences fences);
  // Waits until so many Fence calls have come in all and returns them; fewer when they do not come.
  std::vector<v1::FenceRequest> AwaitFences(size_t count);
  size_t fences_asked() const;

  // kill -9: the endpoint is gone and every call breaks.
  void Die(transfer::LoopbackFabric& fabric);

 private:
  grpc::ServerBidiReactor<v1::PrefillCommand, v1::PrefillEvent>* Prefill(
      grpc::CallbackServerContext* context) override;
  grpc::ServerUnaryReactor* Fence(grpc::CallbackServerContext* context,
                                  const v1::FenceRequest* request,
                                  v1::FenceResponse* response) override;
  void ShutDown();

  const std::string worker_id_;
  std::unique_ptr<transfer::LoopbackTransport> transport_;
  const transfer::PeerAddress address_;
  rpc::Server server_;
  mutable absl::Mutex mutex_;
  std::vector<std::shared_ptr<FakePrefillCall>> calls_ ABSL_GUARDED_BY(mutex_);
  std::deque<std::shared_ptr<FakePrefillCall>> arrived_ ABSL_GUARDED_BY(mutex_);
  Fences fences_ ABSL_GUARDED_BY(mutex_) = Fences::kAnswer;
  std::vector<v1::FenceRequest> asked_ ABSL_GUARDED_BY(mutex_);
  std::vector<grpc::ServerUnaryReactor*> held_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace baton::handover
