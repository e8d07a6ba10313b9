#include "common/worker/doctor/doctor_service.h"

#include <filesystem>

#include "common/rpc/channel.h"
#include "common/rpc/status.h"

namespace baton::worker {
namespace {

constexpr char kRdmaDevices[] = "/sys/class/infiniband";
constexpr int kRdmaDevicesMax = 64;
// Asking a GPU takes longer than an answer should, which round trips are measured by.
constexpr absl::Duration kDeviceKept = absl::Seconds(1);

void ListRdmaDevices(v1::Examination& answer) {
  std::error_code none;  // no such folder: no such devices
  for (const auto& entry : std::filesystem::directory_iterator(kRdmaDevices, none)) {
    if (answer.rdma_devices_size() == kRdmaDevicesMax) return;
    answer.add_rdma_devices(entry.path().filename().string());
  }
}

}  // namespace

absl::StatusOr<std::unique_ptr<DoctorService>> DoctorService::Create(Identity identity,
                                                                     transfer::Transport& transport,
                                                                     const Clock& clock) {
  ASSIGN_OR_RETURN(std::unique_ptr<ProbeRegion> region, ProbeRegion::Allocate(transport, clock));
  return std::unique_ptr<DoctorService>(
      new DoctorService(std::move(identity), transport, std::move(region), clock));
}

DoctorService::DoctorService(Identity identity, transfer::Transport& transport,
                             std::unique_ptr<ProbeRegion> region, const Clock& clock)
    : identity_(std::move(identity)),
      transport_name_(transport.local_address().transport),
      host_id_(transport.local_address().host_id),
      clock_(clock),
      region_(std::move(region)),
      prober_(identity_.worker_id, transport, *region_, clock) {}

grpc::Status DoctorService::Examine(grpc::ServerContext*, const v1::ExamineRequest*,
                                    v1::Examination* answer) {
  answer->set_worker_id(identity_.worker_id);
  answer->set_version(BATON_VERSION);
  answer->set_protocol(identity_.protocol);
  answer->set_fingerprint(identity_.fingerprint);
  answer->set_token_fingerprint(identity_.token_fingerprint);
  answer->set_host_id(host_id_);
  answer->set_transport(transport_name_);
  *answer->mutable_device() = Device();
  answer->set_transfer_path(identity_.transfer_path);
  ListRdmaDevices(*answer);
  answer->set_wall_clock_us(absl::ToUnixMicros(clock_.Wall()));
  return grpc::Status::OK;
}

v1::ComputeDevice DoctorService::Device() {
  absl::MutexLock lock(&mutex_);
  const absl::Duration now = clock_.Monotonic();
  if (identity_.device && now - device_at_ >= kDeviceKept) {
    device_ = identity_.device();
    device_at_ = now;
  }
  return device_;
}

grpc::Status DoctorService::ProbePath(grpc::ServerContext* context,
                                      const v1::ProbePathRequest* request, v1::PathReport* report) {
  if (identity_.is_decode) {
    return {grpc::StatusCode::UNIMPLEMENTED, "a decode worker puts nothing into others"};
  }
  if (request->decode_address().empty()) {
    return {grpc::StatusCode::INVALID_ARGUMENT, "decode_address is empty"};
  }
  const auto decode =
      v1::Doctor::NewStub(rpc::PeerChannel(request->decode_address(), identity_.credentials));
  absl::StatusOr<v1::PathReport> probed =
      prober_.Probe(*decode, [context] { return context->IsCancelled(); });
  if (!probed.ok()) return rpc::ToGrpc(probed.status());
  *report = *std::move(probed);
  return grpc::Status::OK;
}

grpc::Status DoctorService::LendProbeRegion(grpc::ServerContext*,
                                            const v1::LendProbeRegionRequest* request,
                                            v1::ProbeRegionLoan* loan) {
  if (!identity_.is_decode) {
    return {grpc::StatusCode::UNIMPLEMENTED, "nobody puts into a prefill worker"};
  }
  absl::StatusOr<v1::ProbeRegionLoan> lent = region_->Lend(request->borrower());
  if (!lent.ok()) return rpc::ToGrpc(lent.status());
  *loan = *std::move(lent);
  return grpc::Status::OK;
}

grpc::Status DoctorService::SettleProbeRegion(grpc::ServerContext*,
                                              const v1::SettleProbeRegionRequest* request,
                                              v1::SettleProbeRegionResponse* response) {
  const absl::StatusOr<bool> intact = region_->Settle(*request);
  if (!intact.ok()) return rpc::ToGrpc(intact.status());
  response->set_intact(*intact);
  return grpc::Status::OK;
}

}  // namespace baton::worker
