#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "common/transfer/transport.h"
#include "common/transfer/ucx/transfer_thread.h"
#include "common/transfer/ucx/ucx_options.h"

namespace baton::transfer {

// Transport over UCX: shared memory towards processes on this host, a network (TCP, or RDMA where
// UCX has it) towards others. Thread-safe. Owns the transfer thread and every region; both go with
// it.
//
// Over shared memory a peer's bytes appear in a region without this process doing anything. Over a
// network they come in through this process's transfer thread. Either way they are visible before
// the writer's `done` runs.
//
// A connection that broke stays broken: its handle answers UNAVAILABLE, and Connect() makes a new
// one. Disconnect() from a dead peer on the same host also gives its memory back to the machine;
// the transport does so by itself when it sees the process end.
class UcxTransport : public Transport {
 public:
  static absl::StatusOr<std::unique_ptr<UcxTransport>> Create(const UcxOptions& options);
  ~UcxTransport() override;

  absl::StatusOr<Region> AllocateRegion(size_t bytes) override;
  PeerAddress local_address() const override;
  absl::StatusOr<PeerHandle> Connect(const PeerAddress& peer) override;
  void Disconnect(PeerHandle peer) override;
  void PutAll(PeerHandle peer, std::string remote_key, std::vector<Put> puts,
              std::function<void(absl::Status)> done) override;
  PeerState Probe(const PeerAddress& peer) const override;
  std::string PathTo(PeerHandle peer) const override;
  Counters counters() const override;

 private:
  struct Death;

  UcxTransport(std::unique_ptr<TransferThread> thread, const UcxOptions& options);
  absl::StatusOr<std::shared_ptr<PeerRecord>> MakeRecord(const PeerAddress& peer) const;
  // Which way this process and that one reach each other: the same answer on both sides.
  absl::StatusOr<Path> ChoosePath(const PeerAddress& peer, const PerPath& theirs) const;
  PeerState SocketsOfDead(const ProcessIdentity& process) const ABSL_LOCKS_EXCLUDED(mutex_);

  const UcxOptions options_;
  const PeerAddress local_;
  mutable absl::Mutex mutex_;
  PeerHandle next_handle_ ABSL_GUARDED_BY(mutex_) = 1;
  std::unordered_map<PeerHandle, std::shared_ptr<PeerRecord>> peers_ ABSL_GUARDED_BY(mutex_);
  std::unordered_map<std::string, PeerHandle> by_address_ ABSL_GUARDED_BY(mutex_);
  mutable std::map<ProcessIdentity, std::shared_ptr<Death>> deaths_ ABSL_GUARDED_BY(mutex_);
  const std::unique_ptr<TransferThread> thread_;  // last: its shutdown runs callbacks
};

}  // namespace baton::transfer
