#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/time/time.h"
#include "baton/v1/worker.pb.h"
#include "common/handover/prefill_peers.h"
#include "common/transfer/transport.h"

namespace baton::handover {

// Finds out when no write of a broken hand-over can land any more: its process is dead, or it has
// answered Fence. Asks at once, gives the question 300 ms, and asks again 100 ms after an answer
// that was none, with twice the time (up to 5 s). Questions do not wait for each other: a silent
// worker delays nobody else's. Has no thread: answers come on the peers', time comes by Tick().
// Thread-safe.
class Fencer {
 public:
  struct Doubt {
    uint64_t epoch = 0;       // the engine's, handed back
    uint64_t wire_epoch = 0;  // the attempt's
    v1::PrefillTarget target;
  };
  using Fenced = std::function<void(uint64_t epoch)>;

  // `transport`, `peers` and what `fenced` uses outlive the fencer, at least until Stop().
  Fencer(std::string caller, transfer::Transport& transport, PrefillPeers& peers, Fenced fenced);
  ~Fencer();

  // Waits for nobody's answer, only for a call of `fenced` under way: none comes after. What is in
  // doubt stays so: the process is going.
  void Stop();

  void Watch(const Doubt& doubt);
  // `now`: monotonic. Every few tens of milliseconds.
  void Tick(absl::Duration now);
  // In doubt, those that are just being asked about included.
  int32_t watched() const;

 private:
  class Docket;

  const std::shared_ptr<Docket> docket_;  // shared with the questions under way
};

}  // namespace baton::handover
