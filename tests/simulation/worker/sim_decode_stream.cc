#include "tests/simulation/worker/sim_decode_stream.h"

#include <utility>

namespace baton::simulation {

router::DecodeLinkOpener SimDecodeLink::To(Network& network, std::shared_ptr<Process> router,
                                           const Mutations& mutations) {
  return [&network, router = std::move(router), &mutations](
             const WorkerId& worker, const std::string& address,
             router::DecodeLinkListener& listener) -> std::shared_ptr<router::DecodeLink> {
    auto link = std::make_shared<SimDecodeLink>(worker, listener, mutations);
    link->Dial(network, router, address);
    return link;
  };
}

void SimDecodeLink::Dial(Network& network, const std::shared_ptr<Process>& router,
                         const std::string& address) {
  self_ = shared_from_this();
  wire_ =
      network.Dial(router, address,
                   [weak = weak_from_this()](void* listener, const std::shared_ptr<Wire>& wire) {
                     auto* host = static_cast<WorkerListener*>(listener);
                     auto session = std::make_shared<SimRouterSession>(*host, wire, weak);
                     wire->listener_state = session;
                     session->Begin();
                   });
  wire_->OnBroken(Wire::kDialer, [this](const absl::Status& why) { End(why); });
}

bool SimDecodeLink::Send(v1::DecodeCommand command) {
  if (self_ == nullptr) return false;
  if (mutations_.lose_cancels && command.has_cancel()) return true;
  if (mutations_.drop_token_on_continuation) {
    for (v1::Sequence& sequence : *command.mutable_submit()->mutable_sequences()) {
      if (sequence.resumed_tokens() == 0) continue;
      sequence.mutable_prompt()->RemoveLast();
      sequence.set_resumed_tokens(sequence.resumed_tokens() - 1);
    }
  }
  wire_->Send(Wire::kDialer, "command", [wire = wire_.get(), command = std::move(command)] {
    std::static_pointer_cast<SimRouterSession>(wire->listener_state)->Take(command);
  });
  return true;
}

void SimDecodeLink::Close() {
  wire_->Close(Wire::kDialer);
  End(absl::CancelledError("closed by the router"));
}

void SimDecodeLink::Take(const v1::DecodeEvent& event) {
  if (self_ != nullptr) listener_.OnEvent(*this, event);
}

void SimDecodeLink::End(const absl::Status& why) {
  if (self_ == nullptr) return;
  const auto keep = std::move(self_);
  listener_.OnBroken(*this, why);
}

SimRouterSession::SimRouterSession(WorkerListener& host, const std::shared_ptr<Wire>& wire,
                                   std::weak_ptr<SimDecodeLink> router)
    : host_(host), wire_(wire), router_(std::move(router)) {}

void SimRouterSession::Begin() {
  host_.sessions().insert(shared_from_this());
  host_.decode_worker().Attach(*this);
  wire_.lock()->OnBroken(Wire::kListener,
                         [self = shared_from_this()](const absl::Status&) { self->End(); });
}

void SimRouterSession::Take(const v1::DecodeCommand& command) {
  if (ended_) return;
  if (command.has_submit()) host_.decode_worker().Submit(*this, command.submit());
  if (command.has_cancel()) host_.decode_worker().Cancel(*this, command.cancel());
}

void SimRouterSession::Flush() {
  const auto wire = wire_.lock();
  if (writing_ || ended_ || wire == nullptr || gathering_.deltas_size() == 0) return;
  writing_ = true;
  v1::DecodeEvent sending;
  sending.Swap(&gathering_);
  wire->Send(
      Wire::kListener, "deltas",
      [to = router_, sending = std::move(sending)] {
        if (const auto link = to.lock()) link->Take(sending);
      },
      [self = shared_from_this()] {
        self->writing_ = false;
        self->Flush();
      });
}

void SimRouterSession::Close(const absl::Status&) {
  if (const auto wire = wire_.lock()) wire->Close(Wire::kListener);
  // As OnDone: later, and by itself.
  host_.process()->After(absl::ZeroDuration(), "session done",
                         [self = shared_from_this()] { self->End(); });
}

void SimRouterSession::End() {
  if (std::exchange(ended_, true)) return;
  host_.decode_worker().Detach(*this);
  host_.sessions().erase(shared_from_this());
}

}  // namespace baton::simulation
