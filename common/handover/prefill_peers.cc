#include "common/handover/prefill_peers.h"

#include "common/rpc/channel.h"

namespace baton::handover {

std::shared_ptr<v1::PrefillWorker::Stub> PrefillPeers::StubFor(const std::string& grpc_address) {
  absl::MutexLock lock(&mutex_);
  std::shared_ptr<v1::PrefillWorker::Stub>& stub = stubs_[grpc_address];
  if (stub == nullptr) stub = v1::PrefillWorker::NewStub(rpc::PeerChannel(grpc_address));
  return stub;
}

}  // namespace baton::handover
