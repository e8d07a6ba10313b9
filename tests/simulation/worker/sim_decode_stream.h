#pragma once

#include <functional>
#include <memory>
#include <string>

#include "services/router/dispatch/decode_link.h"
#include "tests/simulation/fault/mutations.h"
#include "tests/simulation/network/network.h"
#include "tests/simulation/worker/worker_listener.h"

namespace baton::simulation {

// The router's end of a Serve stream.
class SimDecodeLink : public router::DecodeLink,
                      public std::enable_shared_from_this<SimDecodeLink> {
 public:
  static router::DecodeLinkOpener To(Network& network, std::shared_ptr<Process> router,
                                     const Mutations& mutations);

  SimDecodeLink(WorkerId worker, router::DecodeLinkListener& listener, const Mutations& mutations)
      : worker_(std::move(worker)), listener_(listener), mutations_(mutations) {}

  const WorkerId& worker() const override { return worker_; }
  bool connected() override { return self_ != nullptr && wire_->open(Wire::kDialer); }
  bool Send(v1::DecodeCommand command) override;
  void Close() override;
  void Take(const v1::DecodeEvent& event);

 private:
  void Dial(Network& network, const std::shared_ptr<Process>& router, const std::string& address);
  void End(const absl::Status& why);

  const WorkerId worker_;
  router::DecodeLinkListener& listener_;
  const Mutations& mutations_;
  std::shared_ptr<Wire> wire_;
  std::shared_ptr<SimDecodeLink> self_;  // until it has ended
};

// The decode worker's end: gathers and sends as GrpcRouterSession does.
class SimRouterSession : public decode_worker::RouterSession,
                         public std::enable_shared_from_this<SimRouterSession> {
 public:
  SimRouterSession(WorkerListener& host, const std::shared_ptr<Wire>& wire,
                   std::weak_ptr<SimDecodeLink> router);

  void Begin();
  void Take(const v1::DecodeCommand& command);
  void Add(v1::SequenceDelta delta) override { *gathering_.add_deltas() = std::move(delta); }
  void Flush() override;
  void Close(const absl::Status& status) override;
  const std::string& peer() const override { return peer_; }

 private:
  void End();

  WorkerListener& host_;
  const std::weak_ptr<Wire> wire_;  // which owns this
  const std::weak_ptr<SimDecodeLink> router_;
  const std::string peer_ = "a router";
  v1::DecodeEvent gathering_;
  bool writing_ = false;
  bool ended_ = false;
};

}  // namespace baton::simulation
