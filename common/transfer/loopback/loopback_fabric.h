#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "common/base/status.h"
#include "common/transfer/transport.h"

namespace baton::transfer {

// The network of LoopbackTransports inside one process, with its faults. Tests hold it and turn it;
// every method may come from any thread. Memory of an endpoint lives as long as the fabric, so that
// a late write is a wrong byte that a test can see, never a crash.
class LoopbackFabric {
 public:
  LoopbackFabric() = default;
  LoopbackFabric(const LoopbackFabric&) = delete;
  LoopbackFabric& operator=(const LoopbackFabric&) = delete;

  // --- Faults ---
  // No piece is copied while paused; with `after_pieces` that many more pass first.
  void Pause(uint64_t after_pieces = 0);
  void Resume();
  // Sleeps until a transfer waits at the gate of a paused fabric: it is in mid-transfer.
  void AwaitHeldTransfer();
  // Like kill -9: what the endpoint was writing stops where it is and its callbacks never run; what
  // others write to it fails; Probe() of it says kGone.
  void Kill(const PeerAddress& endpoint);
  // Asked before each piece; an error fails its transfer there. For seeded or scripted losses.
  using Fault = std::function<absl::Status(const PeerAddress& from, const PeerAddress& to)>;
  void SetFault(Fault fault);

  // --- For LoopbackTransport ---
  PeerAddress Join();
  Region AddRegion(const PeerAddress& owner, size_t bytes);
  bool IsGone(const PeerAddress& endpoint) const;
  // Copies one piece, when the gate opens. `cancelled` ends the wait.
  absl::Status Copy(const PeerAddress& from, const PeerAddress& to, const std::string& remote_key,
                    const Put& put, const std::function<bool()>& cancelled);
  // Lets waits look at their `cancelled` again.
  void Nudge();

 private:
  struct Memory {
    std::string owner;
    std::unique_ptr<std::byte[]> data;
    size_t bytes = 0;
  };

  absl::Status PassGate(const PeerAddress& from, const PeerAddress& to,
                        const std::function<bool()>& cancelled) ABSL_LOCKS_EXCLUDED(mutex_);
  absl::Status CheckAlive(const PeerAddress& from, const PeerAddress& to) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool GateIsOpen() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  mutable absl::Mutex mutex_;
  absl::CondVar changed_;
  int64_t num_joined_ ABSL_GUARDED_BY(mutex_) = 0;
  std::set<std::string> gone_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, Memory> regions_ ABSL_GUARDED_BY(mutex_);
  bool paused_ ABSL_GUARDED_BY(mutex_) = false;
  uint64_t pieces_until_pause_ ABSL_GUARDED_BY(mutex_) = 0;
  int held_ ABSL_GUARDED_BY(mutex_) = 0;
  Fault fault_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace baton::transfer
