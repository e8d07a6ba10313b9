#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "common/transfer/loopback/loopback_fabric.h"
#include "common/transfer/transport.h"

namespace baton::transfer {

// A Transport between endpoints of one process, for tests: real bytes, copied by a thread of its
// own, under the faults of the fabric, which must outlive it. Thread-safe.
class LoopbackTransport : public Transport {
 public:
  explicit LoopbackTransport(LoopbackFabric& fabric);
  // Transfers not ended by then end with CANCELLED (not those of a killed endpoint: it is dead).
  ~LoopbackTransport() override;

  absl::StatusOr<Region> AllocateRegion(size_t bytes) override;
  PeerAddress local_address() const override { return local_; }
  absl::StatusOr<PeerHandle> Connect(const PeerAddress& peer) override;
  void Disconnect(PeerHandle peer) override;
  void PutAll(PeerHandle peer, std::string remote_key, std::vector<Put> puts,
              std::function<void(absl::Status)> done) override;
  PeerState Probe(const PeerAddress& peer) const override;
  std::string PathTo(PeerHandle peer) const override;
  Counters counters() const override;

 private:
  struct Job {
    PeerHandle peer = 0;
    std::string remote_key;
    std::vector<Put> puts;
    std::function<void(absl::Status)> done;
  };

  void Run();
  absl::Status Execute(const Job& job);
  bool IsCancelled(PeerHandle peer) const;
  bool HasWork() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return stopping_ || !jobs_.empty(); }

  LoopbackFabric& fabric_;
  const PeerAddress local_;
  mutable absl::Mutex mutex_;
  std::unordered_map<PeerHandle, PeerAddress> peers_ ABSL_GUARDED_BY(mutex_);
  PeerHandle next_handle_ ABSL_GUARDED_BY(mutex_) = 1;
  std::deque<Job> jobs_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  Counters counters_ ABSL_GUARDED_BY(mutex_);
  std::thread thread_;
};

}  // namespace baton::transfer
