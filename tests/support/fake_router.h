#pragma once

#include <grpcpp/grpcpp.h>

#include <map>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "baton/v1/cluster.grpc.pb.h"
#include "common/rpc/server.h"

namespace baton::testing {

// A router's Cluster service: welcomes every worker and remembers what it said last. Thread-safe.
class FakeRouter : public v1::Cluster::Service {
 public:
  FakeRouter();
  ~FakeRouter() override;

  const std::string& address() const { return server_.address; }
  // Waits for a worker of this role, other than `known`; fails the test when none comes.
  v1::Registration WaitForWorker(v1::WorkerRole role, const std::string& known = "");
  // The worker's last load report; empty when it is gone.
  v1::Load LoadOf(const std::string& worker_id) const;
  bool IsAttached(const std::string& worker_id) const;
  // Blocks that are neither free nor cached.
  int32_t BusyBlocks(const std::string& worker_id) const;

 private:
  struct Worker {
    v1::Registration registration;
    v1::Load load;
  };

  grpc::Status Attach(
      grpc::ServerContext* context,
      grpc::ServerReaderWriter<v1::RouterNotice, v1::WorkerReport>* stream) override;

  mutable absl::Mutex mutex_;
  std::map<std::string, Worker> workers_ ABSL_GUARDED_BY(mutex_);
  rpc::Server server_;
};

}  // namespace baton::testing
