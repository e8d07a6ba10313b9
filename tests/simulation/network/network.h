#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "tests/simulation/network/wire.h"

namespace baton::simulation {

// Who can be dialled, every stream, and the faults of the ways between processes.
class Network {
 public:
  // What is made of a stream at its listening end; runs in the listening process.
  using Accept = std::function<void(void* listener, const std::shared_ptr<Wire>& wire)>;

  explicit Network(EventQueue& queue) : queue_(queue) {}
  // Streams that still stand hold their users, and these hold them: the world ends for both.
  ~Network();

  // `listener` is handed to Accept. The address is the process's for as long as it lives.
  void Listen(const std::string& address, std::shared_ptr<Process> process, void* listener);
  // Returns at once. A process that is not there, dead, stopped for long or behind a partition
  // shows as a break.
  std::shared_ptr<Wire> Dial(const std::shared_ptr<Process>& from, const std::string& address,
                             Accept accept);

  // Call right after the process has been killed, or stopped.
  void OnKilled(const Process& process);
  void OnStopped(const std::shared_ptr<Process>& process);
  // One stream that stands, chosen by the dice, breaks.
  void BreakOne();
  // Two processes, by name, do not hear each other from now on.
  void Part(const std::string& a, const std::string& b);
  void HealAll();

  bool Parted(const Process& a, const Process& b) const {
    return !parted_.empty() && parted_.contains(std::minmax(a.name(), b.name()));
  }
  EventQueue& queue() { return queue_; }
  absl::Duration Delay();

 private:
  struct Listener {
    std::shared_ptr<Process> process;
    void* listener = nullptr;
  };
  void Reach(const std::shared_ptr<Wire>& wire, const std::string& address, Accept accept);
  std::vector<std::shared_ptr<Wire>> WiresOf(const std::string& process);
  void BreakIfStillParted(const std::string& a, const std::string& b);

  EventQueue& queue_;
  std::map<std::string, Listener> listeners_;
  std::vector<std::weak_ptr<Wire>> wires_;
  std::set<std::pair<std::string, std::string>> parted_;
};

}  // namespace baton::simulation
