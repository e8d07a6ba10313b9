#include "tests/simulation/network/wire.h"

#include <algorithm>
#include <utility>

#include "tests/simulation/network/network.h"

namespace baton::simulation {

Wire::Wire(Network& network, std::shared_ptr<Process> dialer) : network_(network) {
  ends_[kDialer].process = std::move(dialer);
}

void Wire::Send(Side from, std::string_view label, Work work, Work taken) {
  if (cut_ || !ends_[from].open) return;
  ends_[from].sent.push_back({label, std::move(work), std::move(taken)});
  if (ends_[kListener].process != nullptr) ScheduleArrival(from);
}

void Wire::Close(Side side) {
  End& end = ends_[side];
  if (!end.open) return;
  end.broken = nullptr;
  if (!cut_) {
    // A reset may overtake what is under way.
    if (network_.queue().Chance(30)) {
      for (Message& message : end.sent) message.work = message.taken = nullptr;
    }
    end.sent.push_back({"hang up", nullptr, nullptr, true});
    if (ends_[kListener].process != nullptr) ScheduleArrival(side);
  }
  end.open = false;
}

void Wire::Accept(std::shared_ptr<Process> listener) {
  ends_[kListener].process = std::move(listener);
  for (size_t i = 0; i < ends_[kDialer].sent.size(); ++i) ScheduleArrival(kDialer);
}

void Wire::ScheduleArrival(Side from) {
  EventQueue& queue = network_.queue();
  End& end = ends_[from];
  const absl::Duration at = std::max(queue.Monotonic() + network_.Delay(), end.last_arrival);
  end.last_arrival = at;
  const std::string_view label = end.sent.back().label;
  ends_[Other(from)].process->After(at - queue.Monotonic(), label,
                                    [self = shared_from_this(), from] { self->Arrive(from); });
}

void Wire::Arrive(Side from) {
  End& sender = ends_[from];
  End& receiver = ends_[Other(from)];
  if (cut_ || sender.sent.empty()) return;
  if (network_.Parted(*sender.process, *receiver.process)) {
    ++sender.owed;
    return;
  }
  const Message message = std::move(sender.sent.front());
  sender.sent.pop_front();
  if (!receiver.open) return;
  if (message.hang_up) return HearBroken(Other(from), Unavailable("the peer hung up"));
  if (message.work) message.work();
  if (message.taken) {
    sender.process->After(network_.Delay(), "taken",
                          [self = shared_from_this(), from, taken = message.taken] {
                            if (self->ends_[from].open) taken();
                          });
  }
}

void Wire::Break(const absl::Status& why) {
  if (cut_) return;
  cut_ = true;
  for (const Side side : {kDialer, kListener}) {
    ends_[side].sent.clear();
    if (ends_[side].process == nullptr) continue;
    ends_[side].process->After(
        network_.queue().Between(absl::ZeroDuration(), absl::Seconds(1)), "broken",
        [self = shared_from_this(), side, why] { self->HearBroken(side, why); });
  }
}

void Wire::HearBroken(Side side, const absl::Status& why) {
  End& end = ends_[side];
  if (!end.open) return;
  end.open = false;
  const Broken broken = std::move(end.broken);
  end.broken = nullptr;
  if (broken) broken(why);
}

}  // namespace baton::simulation
