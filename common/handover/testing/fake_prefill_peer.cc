#include "common/handover/testing/fake_prefill_peer.h"

#include "common/base/check.h"
#include "common/handover/destination.h"
#include "common/rpc/status.h"

namespace baton::handover {

void FakePrefillCall::Send(v1::PrefillEvent event) {
  absl::MutexLock lock(&mutex_);
  event_ = std::move(event);
  writing_ = true;
  StartWrite(&event_);
  const auto written = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return !writing_; };
  mutex_.Await(absl::Condition(&written));
}

void FakePrefillCall::End(const absl::Status& status, bool fenced) {
  {
    absl::MutexLock lock(&mutex_);
    if (ended_) return;
    ended_ = true;
  }
  if (fenced) context_.AddTrailingMetadata("baton-fenced", "1");
  Finish(rpc::ToGrpc(status));
}

void FakePrefillCall::Break() {
  {
    absl::MutexLock lock(&mutex_);
    if (ended_) return;
    ended_ = true;
  }
  context_.TryCancel();
  Finish(grpc::Status::CANCELLED);
}

bool FakePrefillCall::AwaitCancel() { return AwaitFlag(&cancel_asked_); }
bool FakePrefillCall::AwaitHangUp() { return AwaitFlag(&hung_up_); }

int32_t FakePrefillCall::cancels() {
  absl::MutexLock lock(&mutex_);
  return cancels_;
}

bool FakePrefillCall::AwaitFlag(const bool* flag) {
  absl::MutexLock lock(&mutex_);
  return mutex_.AwaitWithTimeout(absl::Condition(flag), kTestPatience);
}

void FakePrefillCall::OnReadDone(bool ok) {
  if (!ok) return;
  bool first = false;
  {
    absl::MutexLock lock(&mutex_);
    first = !started_;
    started_ = true;
    if (!first && command_.has_cancel()) {
      cancel_asked_ = true;
      ++cancels_;
    }
  }
  if (first) on_start_();
  StartRead(&command_);
}

void FakePrefillCall::OnWriteDone(bool) {
  absl::MutexLock lock(&mutex_);
  writing_ = false;
}

void FakePrefillCall::OnCancel() {
  absl::MutexLock lock(&mutex_);
  hung_up_ = true;
}

FakePrefillPeer::FakePrefillPeer(transfer::LoopbackFabric& fabric, std::string worker_id)
    : worker_id_(std::move(worker_id)),
      transport_(std::make_unique<transfer::LoopbackTransport>(fabric)),
      address_(transport_->local_address()) {
  auto server = rpc::StartServer({.listen = "127.0.0.1:0"}, {this});
  CHECK_OK(server.status());
  server_ = *std::move(server);
}

FakePrefillPeer::~FakePrefillPeer() { ShutDown(); }

void FakePrefillPeer::ShutDown() {
  if (server_.server == nullptr) return;
  SetFences(Fences::kAnswer);
  std::vector<std::shared_ptr<FakePrefillCall>> calls;
  {
    absl::MutexLock lock(&mutex_);
    calls = calls_;
  }
  for (auto& call : calls) call->Break();
  server_.server->Shutdown(std::chrono::system_clock::now());
  server_.server = nullptr;
}

v1::PrefillTarget FakePrefillPeer::target() const {
  v1::PrefillTarget target;
  target.set_worker_id(worker_id_);
  target.set_grpc_address(server_.address);
  *target.mutable_transfer() = ToProto(address_);
  return target;
}

std::shared_ptr<FakePrefillCall> FakePrefillPeer::NextCall() {
  absl::MutexLock lock(&mutex_);
  const auto any = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return !arrived_.empty(); };
  if (!mutex_.AwaitWithTimeout(absl::Condition(&any), kTestPatience)) return nullptr;
  auto call = std::move(arrived_.front());
  arrived_.pop_front();
  return call;
}

int32_t FakePrefillPeer::calls() const {
  absl::MutexLock lock(&mutex_);
  return static_cast<int32_t>(calls_.size());
}

void FakePrefillPeer::SetFences(Fences fences) {
  std::vector<grpc::ServerUnaryReactor*> free;
  {
    absl::MutexLock lock(&mutex_);
    fences_ = fences;
    if (fences != Fences::kHold) free.swap(held_);
  }
  for (grpc::ServerUnaryReactor* reactor : free) reactor->Finish(grpc::Status::OK);
}

std::vector<v1::FenceRequest> FakePrefillPeer::AwaitFences(size_t count) {
  absl::MutexLock lock(&mutex_);
  const auto enough = [&]()
                          ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return asked_.size() >= count; };
  mutex_.AwaitWithTimeout(absl::Condition(&enough), kTestPatience);
  return asked_;
}

size_t FakePrefillPeer::fences_asked() const {
  absl::MutexLock lock(&mutex_);
  return asked_.size();
}

void FakePrefillPeer::Die(transfer::LoopbackFabric& fabric) {
  fabric.Kill(address_);
  ShutDown();
}

grpc::ServerBidiReactor<v1::PrefillCommand, v1::PrefillEvent>* FakePrefillPeer::Prefill(
    grpc::CallbackServerContext* context) {
  auto call = std::make_shared<FakePrefillCall>(*context);
  call->self_ = call;
  FakePrefillCall* reactor = call.get();
  reactor->on_start_ = [this, reactor] {
    absl::MutexLock lock(&mutex_);
    arrived_.push_back(reactor->self_);
  };
  {
    absl::MutexLock lock(&mutex_);
    calls_.push_back(std::move(call));
  }
  reactor->StartRead(&reactor->start_);
  return reactor;
}

grpc::ServerUnaryReactor* FakePrefillPeer::Fence(grpc::CallbackServerContext* context,
                                                 const v1::FenceRequest* request,
                                                 v1::FenceResponse*) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  absl::MutexLock lock(&mutex_);
  asked_.push_back(*request);
  if (fences_ == Fences::kHold) {
    held_.push_back(reactor);
  } else {
    reactor->Finish(fences_ == Fences::kAnswer ? grpc::Status::OK
                                               : grpc::Status(grpc::INTERNAL, "not now"));
  }
  return reactor;
}

}  // namespace baton::handover
