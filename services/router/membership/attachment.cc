#include "services/router/membership/attachment.h"

#include <algorithm>

#include "common/rpc/convert.h"
#include "common/telemetry/logging.h"

namespace baton::router {
namespace {

// Both say the same to a router; their workers are never paired with each other.
constexpr int32_t kProtocolMin = 1;
constexpr int32_t kProtocolMax = 2;

DeviceProfile DeviceOf(const v1::ComputeDevice& device) {
  return {.backend = device.backend(),
          .name = device.ranks().empty() ? "" : device.ranks(0).name(),
          .kv_access = rpc::NameOf(device.kv_access())};
}

absl::StatusOr<WorkerProfile> ProfileOf(const v1::Registration& r) {
  if (r.protocol() < kProtocolMin || r.protocol() > kProtocolMax) {
    return FailedPrecondition("registration: protocol {} is not spoken here, {} to {} are",
                              r.protocol(), kProtocolMin, kProtocolMax);
  }
  if (r.role() != v1::WORKER_ROLE_PREFILL && r.role() != v1::WORKER_ROLE_DECODE) {
    return InvalidArgument("registration: role is neither prefill nor decode");
  }
  return WorkerProfile{
      .id = WorkerId(r.worker_id()),
      .role = r.role() == v1::WORKER_ROLE_PREFILL ? WorkerRole::kPrefill : WorkerRole::kDecode,
      .model = r.model(),
      .fingerprint = r.fingerprint(),
      .token_fingerprint = r.token_fingerprint().empty() ? r.fingerprint() : r.token_fingerprint(),
      .grpc_address = r.grpc_address(),
      .metrics_address = r.metrics_address(),
      .hash_salt = r.hash_salt(),
      .transfer = r.transfer().SerializeAsString(),
      .block_tokens = r.block_tokens(),
      .num_blocks = r.num_blocks(),
      .context_tokens_max = r.context_tokens_max(),
      .vocab_size = r.vocab_size(),
      .eos_token_ids = {r.eos_token_ids().begin(), r.eos_token_ids().end()},
      .heartbeat_ms = r.heartbeat_ms(),
      .process_id = r.process_id(),
      .batch_sequences_max = r.batch_sequences_max(),
      .waiting_sequences_max = r.waiting_sequences_max(),
      .waiting_tokens_max = r.waiting_tokens_max(),
      .kv_bytes_per_token = r.kv_bytes_per_token(),
      .step_tokens_max = r.step_tokens_max(),
      .tensor_parallel_size = std::max(1, r.tensor_parallel_size()),
      .device = DeviceOf(r.device())};
}

WorkerLoad LoadOf(const v1::Load& load) {
  return {.engine = rpc::FromProto(load),
          .kv_bytes = load.kv_bytes(),
          .kv_busy_seconds = load.kv_busy_seconds(),
          .handovers_failed = load.handovers_failed(),
          .stalled = load.stalled()};
}

}  // namespace

absl::Status Attachment::Take(const v1::WorkerReport& report) {
  switch (report.report_case()) {
    case v1::WorkerReport::kRegistration:
      return Register(report.registration());
    case v1::WorkerReport::kLoad:
      roster_.Report(id_, stay_, LoadOf(report.load()));
      break;
    case v1::WorkerReport::kKvEvents:
      TakeKvEvents(report.kv_events());
      break;
    case v1::WorkerReport::kDraining:
      telemetry::LogInfo("membership", "worker drains", {{"worker", id_.value()}});
      roster_.Drain(id_, stay_);
      break;
    case v1::WorkerReport::REPORT_NOT_SET:
      break;  // a newer worker's news
  }
  return stay_ == 0 ? InvalidArgument("attach: the first report must be the registration")
                    : absl::OkStatus();
}

absl::Status Attachment::Register(const v1::Registration& registration) {
  if (stay_ != 0) return InvalidArgument("attach: registered twice on one stream");
  ASSIGN_OR_RETURN(WorkerProfile profile, ProfileOf(registration));
  id_ = profile.id;
  ASSIGN_OR_RETURN(stay_, roster_.Join(profile));
  telemetry::LogInfo("membership", "worker joined",
                     {{"worker", id_.value()},
                      {"role", NameOf(profile.role)},
                      {"model", profile.model},
                      {"address", profile.grpc_address}});
  v1::RouterNotice notice;
  notice.mutable_welcome()->set_router_id(router_id_);
  notify_(std::move(notice));
  return absl::OkStatus();
}

void Attachment::TakeKvEvents(const v1::KvEvents& proto) {
  const auto events = rpc::FromProto(proto);
  if (roster_.ApplyKvEvents(id_, stay_, events) != KvIndex::Outcome::kGap) return;
  telemetry::LogInfo("membership", "gap in KV events; asking for a snapshot",
                     {{"worker", id_.value()}, {"number", events.number}});
  v1::RouterNotice notice;
  notice.mutable_snapshot_request();
  notify_(std::move(notice));
}

// The roster ignores a second time, and a report that comes later is news of a stay that is over.
void Attachment::Leave() {
  const Roster::Stay stay = stay_;
  if (stay == 0 || left_.exchange(true)) return;
  telemetry::LogInfo("membership", "worker left", {{"worker", id_.value()}});
  roster_.Leave(id_, stay);
}

}  // namespace baton::router
