#include "common/handover/grpc_prefill_peers.h"

#include <grpcpp/grpcpp.h>

#include <utility>

#include "absl/time/clock.h"
#include "common/handover/grpc_attempt.h"
#include "common/rpc/channel.h"
#include "common/rpc/status.h"

namespace baton::handover {
namespace {

// One Fence call: what gRPC needs until it has ended.
struct FenceCall {
  std::shared_ptr<v1::PrefillWorker::Stub> stub;
  grpc::ClientContext context;
  v1::FenceRequest request;
  v1::FenceResponse response;
};

}  // namespace

std::shared_ptr<Attempt> GrpcPrefillPeers::Open(const v1::PrefillTarget& target,
                                                const AttemptId& id, AttemptListener& listener) {
  return std::make_shared<GrpcAttempt>(id, listener, StubFor(target.grpc_address()));
}

void GrpcPrefillPeers::Fence(const v1::PrefillTarget& target, const v1::FenceRequest& request,
                             absl::Duration timeout, std::function<void(absl::Status)> done) {
  auto call = std::make_shared<FenceCall>();
  call->stub = StubFor(target.grpc_address());
  call->context.set_deadline(absl::ToChronoTime(absl::Now() + timeout));
  call->request = request;
  call->stub->async()->Fence(
      &call->context, &call->request, &call->response,
      [call, done = std::move(done)](const grpc::Status& status) { done(rpc::FromGrpc(status)); });
}

std::shared_ptr<v1::PrefillWorker::Stub> GrpcPrefillPeers::StubFor(
    const std::string& grpc_address) {
  absl::MutexLock lock(&mutex_);
  std::shared_ptr<v1::PrefillWorker::Stub>& stub = stubs_[grpc_address];
  if (stub == nullptr) {
    stub = v1::PrefillWorker::NewStub(rpc::PeerChannel(grpc_address, credentials_));
  }
  return stub;
}

}  // namespace baton::handover
