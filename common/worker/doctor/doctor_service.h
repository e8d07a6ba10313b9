#pragma once

#include <functional>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "baton/v1/doctor.grpc.pb.h"
#include "common/base/clock.h"
#include "common/base/status.h"
#include "common/rpc/credentials.h"
#include "common/transfer/transport.h"
#include "common/worker/doctor/path_prober.h"
#include "common/worker/doctor/probe_region.h"

namespace baton::worker {

// baton.v1.Doctor, for both kinds of workers. Calls block on gRPC's threads for synchronous calls,
// which nothing else uses, for a few seconds at most.
class DoctorService : public v1::Doctor::Service {
 public:
  struct Identity {
    std::string worker_id;
    bool is_decode = false;
    int32_t protocol = 0;
    std::string fingerprint;
    std::string token_fingerprint;
    std::string transfer_path;                  // as configured
    std::function<v1::ComputeDevice()> device;  // what it computes on, now; null: not told
    rpc::Credentials credentials;               // towards decode workers
  };
  // At start-up: allocates a probe region. `transport` outlives the service.
  static absl::StatusOr<std::unique_ptr<DoctorService>> Create(Identity identity,
                                                               transfer::Transport& transport,
                                                               const Clock& clock);

  grpc::Status Examine(grpc::ServerContext* context, const v1::ExamineRequest* request,
                       v1::Examination* answer) override;
  grpc::Status ProbePath(grpc::ServerContext* context, const v1::ProbePathRequest* request,
                         v1::PathReport* report) override;
  grpc::Status LendProbeRegion(grpc::ServerContext* context,
                               const v1::LendProbeRegionRequest* request,
                               v1::ProbeRegionLoan* loan) override;
  grpc::Status SettleProbeRegion(grpc::ServerContext* context,
                                 const v1::SettleProbeRegionRequest* request,
                                 v1::SettleProbeRegionResponse* response) override;

 private:
  DoctorService(Identity identity, transfer::Transport& transport,
                std::unique_ptr<ProbeRegion> region, const Clock& clock);

  v1::ComputeDevice Device() ABSL_LOCKS_EXCLUDED(mutex_);

  const Identity identity_;
  const std::string transport_name_;
  const std::string host_id_;
  const Clock& clock_;
  const std::unique_ptr<ProbeRegion> region_;
  PathProber prober_;
  absl::Mutex mutex_;
  absl::Duration device_at_ ABSL_GUARDED_BY(mutex_) = -absl::InfiniteDuration();
  v1::ComputeDevice device_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace baton::worker
