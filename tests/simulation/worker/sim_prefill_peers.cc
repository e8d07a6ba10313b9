#include "tests/simulation/worker/sim_prefill_peers.h"

#include <optional>
#include <utility>

#include "tests/simulation/fault/mutations.h"
#include "tests/simulation/worker/worker_listener.h"

namespace baton::simulation {

class SimAttempt;

namespace {

// The prefill worker's end of a Prefill call: what common/worker/prefill_call.cc does on gRPC.
class ServerCall : public std::enable_shared_from_this<ServerCall> {
 public:
  ServerCall(worker::PrefillServer& server, const std::shared_ptr<Wire>& wire,
             std::weak_ptr<SimAttempt> caller)
      : server_(server), wire_(wire), caller_(std::move(caller)) {}

  // True: writes may come from now on.
  bool Start(const v1::PrefillRequest& request);
  void Stop(std::string_view why) {
    if (handover_) server_.Stop(*handover_, why);
  }

 private:
  void Tell(v1::PrefillEvent event);
  void Over(absl::StatusOr<v1::PrefillFinished> result);

  worker::PrefillServer& server_;
  const std::weak_ptr<Wire> wire_;  // which owns this
  const std::weak_ptr<SimAttempt> caller_;
  std::optional<uint64_t> handover_;
};

}  // namespace

// The decode worker's end of a Prefill call.
class SimAttempt : public handover::Attempt, public std::enable_shared_from_this<SimAttempt> {
 public:
  SimAttempt(Network& network, std::shared_ptr<Process> process,
             std::shared_ptr<WriteLedger> ledger, v1::PrefillTarget target,
             const handover::AttemptId& id, handover::AttemptListener& listener)
      : network_(network),
        process_(std::move(process)),
        ledger_(std::move(ledger)),
        target_(std::move(target)),
        id_(id),
        listener_(listener) {}

  void Start(v1::PrefillRequest request, absl::Duration timeout) override;
  void Cancel() override;
  void Abort() override { End(absl::CancelledError("aborted"), false); }

  void OnEvent(v1::PrefillEvent event) {
    if (!over_) listener_.OnAttemptEvent(id_, std::move(event));
  }
  void End(const absl::Status& status, bool fenced);

 private:
  Network& network_;
  const std::shared_ptr<Process> process_;
  const std::shared_ptr<WriteLedger> ledger_;
  const v1::PrefillTarget target_;
  const handover::AttemptId id_;
  handover::AttemptListener& listener_;
  std::shared_ptr<Wire> wire_;
  std::shared_ptr<SimAttempt> self_;
  bool cancelled_ = false;
  bool over_ = false;
};

namespace {

bool ServerCall::Start(const v1::PrefillRequest& request) {
  auto self = shared_from_this();
  wire_.lock()->OnBroken(Wire::kListener,
                         [self](const absl::Status&) { self->Stop("the caller is gone"); });
  const absl::StatusOr<uint64_t> handover = server_.Begin(
      request,
      [self](absl::StatusOr<v1::PrefillFinished> result) { self->Over(std::move(result)); },
      [self] {
        v1::PrefillEvent alive;
        alive.mutable_alive();
        self->Tell(std::move(alive));
      });
  if (!handover.ok()) {
    Over(handover.status());
    return false;
  }
  handover_ = *handover;
  v1::PrefillEvent accepted;
  accepted.mutable_accepted();
  Tell(std::move(accepted));
  return true;
}

void ServerCall::Tell(v1::PrefillEvent event) {
  const auto wire = wire_.lock();
  if (wire == nullptr) return;
  wire->Send(Wire::kListener, "prefill event", [to = caller_, event = std::move(event)] {
    if (const auto attempt = to.lock()) attempt->OnEvent(event);
  });
}

void ServerCall::Over(absl::StatusOr<v1::PrefillFinished> result) {
  if (result.ok()) {
    v1::PrefillEvent event;
    *event.mutable_finished() = *result;
    Tell(std::move(event));
  }
  const auto wire = wire_.lock();
  if (wire == nullptr) return;
  wire->OnBroken(Wire::kListener, nullptr);
  wire->Send(Wire::kListener, "prefill end", [to = caller_, status = result.status()] {
    if (const auto attempt = to.lock()) attempt->End(status, /*fenced=*/true);
  });
}

}  // namespace

void SimAttempt::Start(v1::PrefillRequest request, absl::Duration timeout) {
  self_ = shared_from_this();
  wire_ = network_.Dial(
      process_, target_.grpc_address(),
      [caller = weak_from_this(), ledger = ledger_, id = id_, request = std::move(request)](
          void* listener, const std::shared_ptr<Wire>& wire) {
        auto* worker = static_cast<WorkerListener*>(listener);
        auto call = std::make_shared<ServerCall>(worker->prefill_server(), wire, caller);
        wire->listener_state = call;
        if (!call->Start(request)) return;
        ledger->Open(id.epoch, id.wire_epoch, worker->process_id(),
                     {request.blocks().begin(), request.blocks().end()});
      });
  wire_->OnBroken(Wire::kDialer, [this](const absl::Status& why) { End(why, false); });
  process_->After(timeout, "attempt timeout", [weak = weak_from_this()] {
    if (const auto self = weak.lock()) {
      self->End(absl::DeadlineExceededError("the attempt took too long"), false);
    }
  });
  if (cancelled_) Cancel();
}

void SimAttempt::Cancel() {
  cancelled_ = true;
  if (over_ || wire_ == nullptr) return;
  wire_->Send(Wire::kDialer, "cancel prefill", [wire = wire_.get()] {
    const auto call = std::static_pointer_cast<ServerCall>(wire->listener_state);
    if (call != nullptr) call->Stop("cancelled by the decode worker");
  });
}

void SimAttempt::End(const absl::Status& status, bool fenced) {
  if (std::exchange(over_, true)) return;
  if (fenced) ledger_->Close(id_.wire_epoch);
  const auto keep = std::move(self_);
  if (wire_ != nullptr) wire_->Close(Wire::kDialer);
  listener_.OnAttemptOver(id_, status, fenced);
}

std::shared_ptr<handover::Attempt> SimPrefillPeers::Open(const v1::PrefillTarget& target,
                                                         const handover::AttemptId& id,
                                                         handover::AttemptListener& listener) {
  return std::make_shared<SimAttempt>(network_, process_, ledger_, target, id, listener);
}

void SimPrefillPeers::Fence(const v1::PrefillTarget& target, const v1::FenceRequest& request,
                            absl::Duration timeout, std::function<void(absl::Status)> done) {
  struct Call {
    std::shared_ptr<Wire> wire;
    std::function<void(absl::Status)> done;
    void Answer(const absl::Status& status) {
      if (auto told = std::exchange(done, nullptr)) told(status);
    }
  };
  auto call = std::make_shared<Call>();
  call->done = std::move(done);
  const bool early = mutations_.fence_answers_early;
  call->wire = network_.Dial(
      process_, target.grpc_address(),
      [this, call, request, early](void* listener, const std::shared_ptr<Wire>& wire) {
        auto* worker = static_cast<WorkerListener*>(listener);
        const auto answer = [this, call, wire = std::weak_ptr(wire), epoch = request.epoch()] {
          const auto back = wire.lock();
          if (back == nullptr) return;
          back->Send(Wire::kListener, "fence answer", [this, call, epoch] {
            if (call->done != nullptr) ledger_->Close(epoch);
            call->Answer(absl::OkStatus());
          });
        };
        if (early) return answer();
        worker->prefill_server().Fence(request, answer);
      });
  call->wire->OnBroken(Wire::kDialer, [weak = std::weak_ptr(call)](const absl::Status& why) {
    if (const auto self = weak.lock()) self->Answer(why);
  });
  process_->After(timeout, "fence timeout",
                  [call] { call->Answer(absl::DeadlineExceededError("no answer")); });
}

}  // namespace baton::simulation
