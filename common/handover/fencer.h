#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "baton/v1/worker.pb.h"
#include "common/handover/prefill_peers.h"
#include "common/transfer/transport.h"

namespace baton::handover {

// Finds out when no write of a broken hand-over can land any more: its process is dead, or it has
// answered Fence. Owns one thread, which sleeps while nothing is in doubt and asks ten times a
// second otherwise.
class Fencer {
 public:
  struct Doubt {
    uint64_t epoch = 0;       // the engine's, handed back
    uint64_t wire_epoch = 0;  // the attempt's
    v1::PrefillTarget target;
  };
  using Fenced = std::function<void(uint64_t epoch)>;

  Fencer(std::string caller, transfer::Transport& transport, PrefillPeers& peers, Fenced fenced);
  ~Fencer();

  // Joins the thread: `fenced` is not called any more. What is in doubt stays so: the process is
  // going.
  void Stop();

  void Watch(Doubt doubt);
  int32_t watched() const;

 private:
  void Run();
  bool IsOver(const Doubt& doubt);

  const std::string caller_;
  transfer::Transport& transport_;
  PrefillPeers& peers_;
  const Fenced fenced_;
  mutable absl::Mutex mutex_;
  std::vector<Doubt> doubts_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace baton::handover
