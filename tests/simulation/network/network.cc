#include "tests/simulation/network/network.h"

#include <algorithm>
#include <utility>

namespace baton::simulation {
namespace {

// Until a peer that says nothing is given up, as rpc::kKeepaliveMs twice; and until a dial is.
constexpr absl::Duration kKeepalive = absl::Seconds(2);

}  // namespace

Network::~Network() {
  for (const auto& weak : wires_) {
    const std::shared_ptr<Wire> wire = weak.lock();
    if (wire == nullptr) continue;
    const auto ends = std::exchange(wire->ends_, {});
    const auto state = std::exchange(wire->listener_state, nullptr);
  }
}

absl::Duration Network::Delay() {
  if (queue_.Chance(2)) return queue_.Between(absl::Milliseconds(5), absl::Milliseconds(80));
  return queue_.Between(absl::Microseconds(50), absl::Milliseconds(2));
}

void Network::Listen(const std::string& address, std::shared_ptr<Process> process, void* listener) {
  listeners_[address] = {std::move(process), listener};
}

std::shared_ptr<Wire> Network::Dial(const std::shared_ptr<Process>& from,
                                    const std::string& address, Accept accept) {
  auto wire = std::make_shared<Wire>(*this, from);
  std::erase_if(wires_, [](const auto& old) { return old.expired(); });
  wires_.push_back(wire);
  queue_.After(Delay(), "dial",
               [this, wire, address, accept = std::move(accept)] { Reach(wire, address, accept); });
  return wire;
}

void Network::Reach(const std::shared_ptr<Wire>& wire, const std::string& address, Accept accept) {
  const auto found = listeners_.find(address);
  const std::shared_ptr<Process>& dialer = wire->ends_[Wire::kDialer].process;
  if (found == listeners_.end() || !found->second.process->alive()) {
    return wire->Break(Unavailable("nobody listens at {}", address));
  }
  const std::shared_ptr<Process>& process = found->second.process;
  if (Parted(*dialer, *process)) {
    queue_.After(kKeepalive, "dial timeout",
                 [wire, address] { wire->Break(Unavailable("no way to {}", address)); });
    return;
  }
  // The kernel of a stopped process accepts all the same.
  wire->Accept(process);
  if (process->stopped()) OnStopped(process);
  process->After(absl::ZeroDuration(), "accept",
                 [wire, accept = std::move(accept), listener = found->second.listener] {
                   accept(listener, wire);
                 });
  dialer->After(Delay(), "connected", [wire] { wire->established_ = true; });
}

std::vector<std::shared_ptr<Wire>> Network::WiresOf(const std::string& process) {
  std::vector<std::shared_ptr<Wire>> found;
  for (const auto& weak : wires_) {
    const std::shared_ptr<Wire> wire = weak.lock();
    if (wire == nullptr || wire->cut_) continue;
    for (const Wire::End& end : wire->ends_) {
      if (end.process != nullptr && end.process->name() == process) {
        found.push_back(wire);
        break;
      }
    }
  }
  return found;
}

void Network::OnKilled(const Process& process) {
  for (const auto& wire : WiresOf(process.name())) {
    wire->Break(Unavailable("connection reset by {}", process.name()));
  }
}

void Network::OnStopped(const std::shared_ptr<Process>& process) {
  queue_.After(kKeepalive, "keepalive", [this, process] {
    if (!process->alive() || !process->stopped()) return;
    for (const auto& wire : WiresOf(process->name())) {
      wire->Break(Unavailable("{} does not answer", process->name()));
    }
  });
}

void Network::BreakOne() {
  std::vector<std::shared_ptr<Wire>> standing;
  for (const auto& weak : wires_) {
    const std::shared_ptr<Wire> wire = weak.lock();
    if (wire != nullptr && !wire->cut_ && wire->ends_[Wire::kListener].process != nullptr) {
      standing.push_back(wire);
    }
  }
  if (standing.empty()) return;
  standing[queue_.Uniform(0, static_cast<int>(standing.size()) - 1)]->Break(
      Unavailable("connection lost"));
}

void Network::Part(const std::string& a, const std::string& b) {
  parted_.insert(std::minmax(a, b));
  queue_.After(kKeepalive, "keepalive", [this, a, b] { BreakIfStillParted(a, b); });
}

void Network::BreakIfStillParted(const std::string& a, const std::string& b) {
  if (!parted_.contains(std::minmax(a, b))) return;
  for (const auto& wire : WiresOf(a)) {
    const auto& ends = wire->ends_;
    if (ends[0].process == nullptr || ends[1].process == nullptr) continue;
    if (ends[0].process->name() == b || ends[1].process->name() == b) {
      wire->Break(Unavailable("{} and {} do not hear each other", a, b));
    }
  }
}

void Network::HealAll() {
  parted_.clear();
  for (const auto& weak : wires_) {
    const std::shared_ptr<Wire> wire = weak.lock();
    if (wire == nullptr || wire->cut_) continue;
    for (const Wire::Side side : {Wire::kDialer, Wire::kListener}) {
      for (; wire->ends_[side].owed > 0; --wire->ends_[side].owed) wire->ScheduleArrival(side);
    }
  }
}

}  // namespace baton::simulation
