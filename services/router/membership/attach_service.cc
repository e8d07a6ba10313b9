#include "services/router/membership/attach_service.h"

#include <deque>
#include <memory>

#include "common/rpc/convert.h"
#include "common/rpc/status.h"
#include "common/telemetry/logging.h"

namespace baton::router {
namespace {

constexpr int32_t kProtocol = 1;

absl::StatusOr<WorkerProfile> ProfileOf(const v1::Registration& r) {
  if (r.protocol() != kProtocol) {
    return FailedPrecondition("registration: protocol {} is not spoken here, {} is", r.protocol(),
                              kProtocol);
  }
  if (r.role() != v1::WORKER_ROLE_PREFILL && r.role() != v1::WORKER_ROLE_DECODE) {
    return InvalidArgument("registration: role is neither prefill nor decode");
  }
  return WorkerProfile{
      .id = WorkerId(r.worker_id()),
      .role = r.role() == v1::WORKER_ROLE_PREFILL ? WorkerRole::kPrefill : WorkerRole::kDecode,
      .model = r.model(),
      .fingerprint = r.fingerprint(),
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
      .step_tokens_max = r.step_tokens_max()};
}

WorkerLoad LoadOf(const v1::Load& load) {
  return {.engine = rpc::FromProto(load),
          .kv_bytes = load.kv_bytes(),
          .kv_busy_seconds = load.kv_busy_seconds(),
          .handovers_failed = load.handovers_failed(),
          .stalled = load.stalled()};
}

}  // namespace

// One worker's stream. Deletes itself when gRPC is done with it. Reads come one at a time, so the
// membership fields need no lock; notices are written from reads and from write completions.
class Attachment : public grpc::ServerBidiReactor<v1::WorkerReport, v1::RouterNotice> {
 public:
  explicit Attachment(AttachService& service) : service_(service), roster_(service.roster_) {
    StartRead(&report_);
  }

  // Any thread, until Forget() has returned.
  void Notify(v1::RouterNotice notice) {
    absl::MutexLock lock(&mutex_);
    notices_.push_back(std::move(notice));
    WriteNext();
  }

  void OnReadDone(bool ok) override {
    if (!ok) return End(absl::OkStatus());
    const absl::Status status = Take();
    if (!status.ok()) return End(status);
    StartRead(&report_);
  }

  void OnWriteDone(bool ok) override {
    absl::MutexLock lock(&mutex_);
    notices_.pop_front();
    writing_ = false;
    if (ok) WriteNext();
  }

  void OnCancel() override { Leave(); }

  void OnDone() override {
    Leave();
    service_.Forget(id_, this);  // only here: a registration may have been under way until now
    delete this;
  }

 private:
  absl::Status Take() {
    switch (report_.report_case()) {
      case v1::WorkerReport::kRegistration:
        return Register();
      case v1::WorkerReport::kLoad:
        roster_.Report(id_, stay_, LoadOf(report_.load()));
        break;
      case v1::WorkerReport::kKvEvents:
        TakeKvEvents();
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

  absl::Status Register() {
    if (stay_ != 0) return InvalidArgument("attach: registered twice on one stream");
    ASSIGN_OR_RETURN(WorkerProfile profile, ProfileOf(report_.registration()));
    id_ = profile.id;
    ASSIGN_OR_RETURN(stay_, roster_.Join(profile));
    telemetry::LogInfo("membership", "worker joined",
                       {{"worker", id_.value()},
                        {"role", NameOf(profile.role)},
                        {"model", profile.model},
                        {"address", profile.grpc_address}});
    v1::RouterNotice notice;
    notice.mutable_welcome()->set_router_id(service_.router_id_);
    Notify(std::move(notice));
    service_.Remember(id_, this);
    return absl::OkStatus();
  }

  void TakeKvEvents() {
    const auto events = rpc::FromProto(report_.kv_events());
    if (roster_.ApplyKvEvents(id_, stay_, events) != KvIndex::Outcome::kGap) return;
    telemetry::LogInfo("membership", "gap in KV events; asking for a snapshot",
                       {{"worker", id_.value()}, {"number", events.number}});
    v1::RouterNotice notice;
    notice.mutable_snapshot_request();
    Notify(std::move(notice));
  }

  void WriteNext() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (writing_ || ended_ || notices_.empty()) return;
    writing_ = true;
    StartWrite(&notices_.front());
  }

  void End(const absl::Status& status) {
    if (!status.ok()) {
      telemetry::LogWarning("membership", "worker refused",
                            {{"worker", id_.value()}, {"why", MessageOf(status)}});
    }
    Leave();
    {
      absl::MutexLock lock(&mutex_);
      ended_ = true;
    }
    Finish(rpc::ToGrpc(status));
  }

  // Called from OnCancel as well, possibly beside a read: the roster ignores a second time, and a
  // read that comes later is news of a stay that is over.
  void Leave() {
    const Roster::Stay stay = stay_;
    if (stay == 0 || left_.exchange(true)) return;
    telemetry::LogInfo("membership", "worker left", {{"worker", id_.value()}});
    roster_.Leave(id_, stay);
  }

  AttachService& service_;
  Roster& roster_;
  v1::WorkerReport report_;
  WorkerId id_;                         // written once, before stay_
  std::atomic<Roster::Stay> stay_ = 0;  // 0: not registered
  std::atomic<bool> left_ = false;

  absl::Mutex mutex_;
  std::deque<v1::RouterNotice> notices_ ABSL_GUARDED_BY(mutex_);
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
};

grpc::ServerBidiReactor<v1::WorkerReport, v1::RouterNotice>* AttachService::Attach(
    grpc::CallbackServerContext* context) {
  return new Attachment(*this);
}

absl::Status AttachService::AskToDrain(const WorkerId& id) {
  absl::MutexLock lock(&mutex_);
  const auto found = attachments_.find(id);
  if (found == attachments_.end()) return NotFound("{} is not attached here", id.value());
  v1::RouterNotice notice;
  notice.mutable_drain();
  found->second->Notify(std::move(notice));
  return absl::OkStatus();
}

void AttachService::Remember(const WorkerId& id, Attachment* attachment) {
  absl::MutexLock lock(&mutex_);
  attachments_[id] = attachment;
}

// A worker may have come back on another stream before its old one was known to be broken.
void AttachService::Forget(const WorkerId& id, const Attachment* attachment) {
  absl::MutexLock lock(&mutex_);
  const auto found = attachments_.find(id);
  if (found != attachments_.end() && found->second == attachment) attachments_.erase(found);
}

}  // namespace baton::router
