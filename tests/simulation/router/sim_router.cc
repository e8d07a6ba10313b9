#include "tests/simulation/router/sim_router.h"

#include <utility>

#include "common/base/check.h"
#include "tests/simulation/worker/sim_decode_stream.h"

namespace baton::simulation {
namespace {

constexpr absl::Duration kTick = absl::Milliseconds(50);

}  // namespace

SimRouter::SimRouter(Network& network, std::shared_ptr<Process> process, const std::string& policy,
                     uint64_t seed, const Mutations& mutations)
    : process_(std::move(process)) {
  // Steps cost nothing that could be measured here: that a neighbour is held up must weigh all the
  // more for prompts to be sent away at all.
  auto policies = router::PolicyTable::Make(policy, {},
                                            {.cost = {.handover_ms = 0,
                                                      .harm_weight = seed % 2 == 0 ? 1000.0 : 1.0,
                                                      .samples_min = 1 << 30},
                                             .seed = seed});
  CHECK_OK(policies.status());
  policies_ = *std::move(policies);
  const EventQueue& clock = process_->queue();
  roster_ = std::make_unique<router::Roster>(router::Roster::Options(), clock);
  dispatcher_ = std::make_unique<router::Dispatcher>(
      router::Dispatcher::Options{.inflight_requests_max = kInflightMax}, *policies_, *roster_,
      metrics_, SimDecodeLink::To(network, process_, mutations), clock);
  network.Listen(process_->name(), process_, static_cast<ReportListener*>(this));
  TickEvery(kTick);
}

SimRouter::~SimRouter() {
  process_->Kill();
  dispatcher_->Shutdown();
  roster_->set_listener(nullptr);
}

void SimRouter::AcceptReports(const std::shared_ptr<Wire>& wire) {
  auto call = std::make_shared<SimAttachCall>(*roster_, process_->name(), wire);
  wire->listener_state = call;
  wire->OnBroken(Wire::kListener, [call](const absl::Status&) { call->End(); });
}

void SimRouter::TickEvery(absl::Duration period) {
  process_->After(period, "router tick", [this, period] {
    dispatcher_->Tick();
    TickEvery(period);
  });
}

}  // namespace baton::simulation
