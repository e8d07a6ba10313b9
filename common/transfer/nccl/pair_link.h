#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>

#include "common/base/status.h"

namespace baton::transfer {

struct Piece {
  std::byte* data = nullptr;  // as the GPU reaches it
  size_t bytes = 0;
};

// What two processes have between them: an NCCL communicator of two ranks, on a stream of its own.
// One thread; no call waits for the other side.
class PairLink {
 public:
  // Ends what is under way, as Abort().
  virtual ~PairLink() = default;

  // True while the other side has not joined, or what was begun last is not over. An error: the
  // other side is lost. The link stays so.
  virtual absl::StatusOr<bool> Busy() = 0;
  // Begin to send, or to receive, these pieces in order; the other side does the opposite with as
  // many pieces of the same sizes. Not while busy.
  virtual absl::Status Send(std::span<const Piece> pieces) = 0;
  virtual absl::Status Receive(std::span<const Piece> pieces) = 0;
  // When it returns, nothing of this side's reads or writes memory any more; the other side's still
  // may.
  virtual void Abort() = 0;
};

// The library behind the links of one process. Outlives them. Thread-safe.
class PairLinks {
 public:
  virtual ~PairLinks() = default;
  // By which two processes find each other: made by one of them.
  virtual absl::StatusOr<std::string> MakeId() = 0;
  // Begins to join as rank 0 or 1 of two.
  virtual absl::StatusOr<std::unique_ptr<PairLink>> Join(const std::string& id, int rank) = 0;
  // Zeroed memory that both the host and the GPU reach. Freed with this.
  virtual absl::StatusOr<std::byte*> Allocate(size_t bytes) = 0;
};

}  // namespace baton::transfer
