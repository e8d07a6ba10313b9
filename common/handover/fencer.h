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
// answered Fence. Owns one thread, which sleeps while nothing is in doubt. Otherwise it asks for
// all that is in doubt at once, and again 100 ms after the last answer: a worker that says nothing
// delays nobody else's by more than the 300 ms it is given.
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

  // Joins the thread, without waiting for answers: `fenced` is not called any more. What is in
  // doubt stays so: the process is going.
  void Stop();

  void Watch(Doubt doubt);
  // In doubt, those that are just being asked about included.
  int32_t watched() const;

 private:
  struct Question;

  void Run();
  // Those of `doubts` that are over.
  std::vector<Doubt> Ask(const std::vector<Doubt>& doubts);
  void Put(Question& question);
  void Forget(const std::vector<Doubt>& over);

  const std::string caller_;
  transfer::Transport& transport_;
  PrefillPeers& peers_;
  const Fenced fenced_;
  mutable absl::Mutex mutex_;
  std::vector<Doubt> doubts_ ABSL_GUARDED_BY(mutex_);
  int32_t unanswered_ ABSL_GUARDED_BY(mutex_) = 0;  // calls under way
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace baton::handover
