#pragma once

#include <array>
#include <deque>
#include <functional>
#include <memory>
#include <string_view>

#include "common/base/status.h"
#include "tests/simulation/clock/process.h"

namespace baton::simulation {

class Network;

// One stream between two processes, as gRPC gives it: what is sent arrives late but in order, or
// the stream breaks, and what was under way is lost. The two ends learn of a break at different
// times.
class Wire : public std::enable_shared_from_this<Wire> {
 public:
  enum Side : uint8_t { kDialer = 0, kListener = 1 };
  using Broken = std::function<void(const absl::Status& why)>;

  Wire(Network& network, std::shared_ptr<Process> dialer);

  // What `side` does when the other one hangs up or the stream breaks; at most once, and never
  // after its own Close().
  void OnBroken(Side side, Broken broken) { ends_[side].broken = std::move(broken); }
  // Runs `work` at the other end; then, when given, `taken` at this one.
  void Send(Side from, std::string_view label, Work work, Work taken = nullptr);
  // This end hangs up: what it sent before still arrives, mostly. The other end hears of it.
  void Close(Side side);

  bool open(Side side) const { return ends_[side].open && !(side == kDialer && !established_); }
  bool usable(Side side) const { return ends_[side].open; }
  // What the listening end keeps of the stream: set when it accepts.
  std::shared_ptr<void> listener_state;

  int under_way(Side from) const { return static_cast<int>(ends_[from].sent.size()); }

 private:
  friend class Network;
  struct Message {
    std::string_view label;
    Work work;
    Work taken;
    bool hang_up = false;
  };
  struct End {
    std::shared_ptr<Process> process;  // of the listener: null until it has accepted
    bool open = true;
    Broken broken;
    std::deque<Message> sent;  // in order; every one has an arrival ahead, or is owed one
    int owed = 0;              // arrivals that a partition holds up
    absl::Duration last_arrival;
  };
  static Side Other(Side side) { return side == kDialer ? kListener : kDialer; }
  void Accept(std::shared_ptr<Process> listener);
  void ScheduleArrival(Side from);
  void Arrive(Side from);
  // Both ends hear of it, each in its own time.
  void Break(const absl::Status& why);
  void HearBroken(Side side, const absl::Status& why);

  Network& network_;
  std::array<End, 2> ends_;
  bool established_ = false;  // the dialer knows
  bool cut_ = false;
};

}  // namespace baton::simulation
