#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "common/base/status.h"

namespace baton::transfer {

// Memory that peers may write into: the KV pool. Allocated by the transport, so that it is
// shareable. Zero at first; freed when the transport goes.
struct Region {
  std::byte* data = nullptr;
  size_t bytes = 0;
  std::string remote_key;  // opaque; with `address` lets a peer put into it
  uint64_t address = 0;    // of `data`, as peers name it
};

// How a peer is reached: opaque bytes of the transport's own making plus what decides the path.
struct PeerAddress {
  std::string transport;   // "ucx", "loopback": both sides must agree
  std::string worker;      // e.g. the UCX worker address
  std::string host_id;     // equal on two processes exactly when they share memory and pids
  int64_t process_id = 0;  // with start_time: is this very process still alive (same host only)
  uint64_t process_start = 0;
};

using PeerHandle = uint64_t;  // 0 is never valid

// One contiguous piece: local memory to `remote_address` in the peer's region `remote_key`.
struct Put {
  const std::byte* source = nullptr;
  size_t bytes = 0;
  uint64_t remote_address = 0;
};

enum class PeerState : uint8_t { kAlive, kGone, kUnknown };

// One-sided transfers between worker processes. Any thread may call; nothing blocks; completions
// run on the transfer thread, which alone touches the library underneath, and must only post to a
// mailbox.
class Transport {
 public:
  virtual ~Transport() = default;

  // Start-up only, before any peer connects.
  virtual absl::StatusOr<Region> AllocateRegion(size_t bytes) = 0;
  virtual PeerAddress local_address() const = 0;

  // A handle at once; failures come with the first PutAll. Connecting twice to the same address
  // gives the same handle.
  virtual absl::StatusOr<PeerHandle> Connect(const PeerAddress& peer) = 0;
  // Closes the endpoint by force: puts under way fail, `done` of each still runs.
  virtual void Disconnect(PeerHandle peer) = 0;

  // Writes all pieces, then calls done(OK) once every byte is visible in the peer's memory, or
  // done(error) when that cannot be. After `done`, the sources may be reused and no further byte of
  // this call lands at the peer. Calls to one peer complete in order.
  virtual void PutAll(PeerHandle peer, std::string remote_key, std::vector<Put> puts,
                      std::function<void(absl::Status)> done) = 0;

  // Whether the process behind an address can still write: kGone is a promise that it cannot (it is
  // dead, or its endpoint is closed and quarantined). Never blocks.
  virtual PeerState Probe(const PeerAddress& peer) const = 0;

  // "shared memory", "tcp": the path in use towards a peer, for people.
  virtual std::string PathTo(PeerHandle peer) const = 0;

  struct Counters {
    uint64_t bytes_put = 0;
    uint64_t puts = 0;
    uint64_t puts_failed = 0;
    double busy_seconds = 0;  // time with at least one put under way
  };
  virtual Counters counters() const = 0;
};

}  // namespace baton::transfer
