#pragma once

#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/synchronization/mutex.h"
#include "baton/v1/worker.grpc.pb.h"

namespace baton::handover {

// Connections to prefill workers, one per address, kept for the life of the process. Thread-safe.
class PrefillPeers {
 public:
  std::shared_ptr<v1::PrefillWorker::Stub> StubFor(const std::string& grpc_address);

 private:
  absl::Mutex mutex_;
  absl::flat_hash_map<std::string, std::shared_ptr<v1::PrefillWorker::Stub>> stubs_
      ABSL_GUARDED_BY(mutex_);
};

}  // namespace baton::handover
