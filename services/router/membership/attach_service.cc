#include "services/router/membership/attach_service.h"

#include <deque>
#include <memory>
#include <utility>

#include "common/rpc/credentials.h"
#include "common/rpc/refused_call.h"
#include "common/rpc/status.h"
#include "common/telemetry/logging.h"
#include "services/router/membership/attachment.h"

namespace baton::router {
// One worker's stream. Deletes itself when gRPC is done with it. Reads come one at a time; notices
// are written from reads, from write completions and by AskToDrain.
class AttachCall : public grpc::ServerBidiReactor<v1::WorkerReport, v1::RouterNotice> {
 public:
  explicit AttachCall(AttachService& service)
      : service_(service), attachment_(service.roster_, service.router_id_, [this](auto notice) {
          Notify(std::move(notice));
        }) {
    StartRead(&report_);
  }

  // Both from any thread, until Forget() has returned.
  void Notify(v1::RouterNotice notice) {
    absl::MutexLock lock(&mutex_);
    notices_.push_back(std::move(notice));
    WriteNext();
  }

  void OnReadDone(bool ok) override {
    if (!ok) return End(absl::OkStatus());
    const absl::Status status = attachment_.Take(report_);
    if (!status.ok()) return End(status);
    if (report_.has_registration() && !service_.Remember(attachment_.worker(), this)) {
      return End(Unavailable("the router is shutting down"));
    }
    StartRead(&report_);
  }

  void Close(const absl::Status& status) {
    {
      absl::MutexLock lock(&mutex_);
      if (std::exchange(ended_, true)) return;
    }
    Finish(rpc::ToGrpc(status));
  }

  void OnWriteDone(bool ok) override {
    absl::MutexLock lock(&mutex_);
    notices_.pop_front();
    writing_ = false;
    if (ok) WriteNext();
  }

  void OnCancel() override { attachment_.Leave(); }  // possibly beside a read

  void OnDone() override {
    attachment_.Leave();
    // Only here: a registration may have been under way until now.
    service_.Forget(attachment_.worker(), this);
    delete this;
  }

 private:
  void WriteNext() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (writing_ || ended_ || notices_.empty()) return;
    writing_ = true;
    StartWrite(&notices_.front());
  }

  void End(const absl::Status& status) {
    if (!status.ok()) {
      telemetry::LogWarning("membership", "worker refused",
                            {{"worker", attachment_.worker().value()}, {"why", MessageOf(status)}});
    }
    attachment_.Leave();
    Close(status);
  }

  AttachService& service_;
  Attachment attachment_;
  v1::WorkerReport report_;
  absl::Mutex mutex_;
  std::deque<v1::RouterNotice> notices_ ABSL_GUARDED_BY(mutex_);
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
};

grpc::ServerBidiReactor<v1::WorkerReport, v1::RouterNotice>* AttachService::Attach(
    grpc::CallbackServerContext* context) {
  if (const absl::Status peer = rpc::CheckPeer(*context, rpc::Role::kWorker); !peer.ok()) {
    telemetry::LogWarning("membership", "worker refused",
                          {{"peer", context->peer()}, {"why", MessageOf(peer)}});
    return new rpc::RefusedCall<v1::WorkerReport, v1::RouterNotice>(peer);
  }
  return new AttachCall(*this);
}

absl::Status AttachService::AskToDrain(const WorkerId& id) {
  absl::MutexLock lock(&mutex_);
  const auto found = calls_.find(id);
  if (found == calls_.end()) return NotFound("{} is not attached here", id.value());
  v1::RouterNotice notice;
  notice.mutable_drain();
  found->second->Notify(std::move(notice));
  return absl::OkStatus();
}

void AttachService::Shutdown() {
  absl::MutexLock lock(&mutex_);
  over_ = true;
  for (const auto& [id, call] : calls_) call->Close(Unavailable("the router is shutting down"));
}

bool AttachService::Remember(const WorkerId& id, AttachCall* call) {
  absl::MutexLock lock(&mutex_);
  if (!over_) calls_[id] = call;
  return !over_;
}

// A worker may have come back on another stream before its old one was known to be broken.
void AttachService::Forget(const WorkerId& id, const AttachCall* call) {
  absl::MutexLock lock(&mutex_);
  const auto found = calls_.find(id);
  if (found != calls_.end() && found->second == call) calls_.erase(found);
}

}  // namespace baton::router
