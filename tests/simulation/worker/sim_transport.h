#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "common/transfer/transport.h"
#include "tests/simulation/worker/memory_bus.h"

namespace baton::simulation {

// Shared memory between simulated processes: puts land piece by piece, some later than others, in
// order towards one peer. A stopped process's pieces land when it goes on, a dead one's never.
// Lives as long as its process.
class SimTransport : public transfer::Transport {
 public:
  SimTransport(MemoryBus& bus, std::shared_ptr<Process> process);

  absl::StatusOr<transfer::Region> AllocateRegion(size_t bytes) override;
  transfer::PeerAddress local_address() const override;
  absl::StatusOr<transfer::PeerHandle> Connect(const transfer::PeerAddress& peer) override;
  void Disconnect(transfer::PeerHandle) override {}
  void PutAll(transfer::PeerHandle peer, std::string remote_key, std::vector<transfer::Put> puts,
              std::function<void(absl::Status)> done) override;
  transfer::PeerState Probe(const transfer::PeerAddress& peer) const override;
  std::string PathTo(transfer::PeerHandle) const override { return "shared memory"; }
  Counters counters() const override { return counters_; }

  int64_t process_id() const { return process_id_; }
  // From now on so many percent of the pieces arrive with a wrong byte.
  void set_corrupt_percent(double percent) { corrupt_percent_ = percent; }
  // From now on puts take so many times as long.
  void set_slowness(int factor) { slowness_ = factor; }

 private:
  struct Job {
    std::string remote_key;
    std::vector<transfer::Put> puts;
    std::function<void(absl::Status)> done;
    size_t landed = 0;
  };
  void GoOn(transfer::PeerHandle peer);
  absl::Status Land(const Job& job, const transfer::Put& put);

  MemoryBus& bus_;
  const std::shared_ptr<Process> process_;
  const int64_t process_id_;
  std::vector<std::byte> memory_;
  std::map<int64_t, transfer::PeerHandle> peers_;
  std::map<transfer::PeerHandle, std::deque<Job>> jobs_;  // the front one is under way
  Counters counters_;
  double corrupt_percent_ = 0;
  int slowness_ = 1;
};

}  // namespace baton::simulation
