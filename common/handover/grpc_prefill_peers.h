#pragma once

#include <memory>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/synchronization/mutex.h"
#include "baton/v1/worker.grpc.pb.h"
#include "common/handover/prefill_peers.h"
#include "common/rpc/credentials.h"

namespace baton::handover {

// Prefill workers over gRPC: one connection per address, kept for the life of the process. `done`
// and listeners are called on gRPC threads.
class GrpcPrefillPeers : public PrefillPeers {
 public:
  explicit GrpcPrefillPeers(rpc::Credentials credentials = {})
      : credentials_(std::move(credentials)) {}

  std::shared_ptr<Attempt> Open(const v1::PrefillTarget& target, const AttemptId& id,
                                AttemptListener& listener) override;
  void Fence(const v1::PrefillTarget& target, const v1::FenceRequest& request,
             absl::Duration timeout, std::function<void(absl::Status)> done) override;

 private:
  std::shared_ptr<v1::PrefillWorker::Stub> StubFor(const std::string& grpc_address);

  const rpc::Credentials credentials_;
  absl::Mutex mutex_;
  absl::flat_hash_map<std::string, std::shared_ptr<v1::PrefillWorker::Stub>> stubs_
      ABSL_GUARDED_BY(mutex_);
};

}  // namespace baton::handover
