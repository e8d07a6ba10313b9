#pragma once

#include <atomic>
#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <unordered_map>
#include <variant>
#include <vector>

#include "common/concurrency/mailbox.h"
#include "common/transfer/process_identity.h"
#include "common/transfer/ucx/per_path.h"
#include "common/transfer/ucx/ucx_options.h"
#include "common/transfer/ucx/ucx_peer.h"
#include "common/transfer/ucx/ucx_worker.h"
#include "common/transfer/ucx/wake_fd.h"

namespace baton::transfer {

// Shared by the transfer thread (writes) and everyone else (reads).
struct TransferCounters {
  std::atomic<uint64_t> bytes_put = 0;
  std::atomic<uint64_t> puts = 0;
  std::atomic<uint64_t> puts_failed = 0;
  std::atomic<int64_t> busy_nanoseconds = 0;
};

// What both sides know about a peer: set by Connect, `broken` by the transfer thread.
struct PeerRecord {
  PeerHandle handle = 0;
  Path path = Path::kSharedMemory;
  std::string worker_address;                // of that path
  std::optional<ProcessIdentity> same_host;  // watched for its death
  std::atomic<bool> broken = false;
};

// Commands to the transfer thread.
struct OpenPeer {
  std::shared_ptr<PeerRecord> peer;
};
struct ClosePeer {
  PeerHandle peer = 0;
};
struct PutToPeer {
  PeerHandle peer = 0;
  std::unique_ptr<PutJob> job;
};
struct AllocateMemory {
  size_t bytes = 0;
  std::promise<absl::StatusOr<Region>>* result = nullptr;  // outlives the command
};
// Runs once everything that had reached this process's sockets has been taken in.
struct AfterDrain {
  std::function<void()> then;
};
struct StopThread {};
using TransferCommand =
    std::variant<OpenPeer, ClosePeer, PutToPeer, AllocateMemory, AfterDrain, StopThread>;

// The one thread that touches UCX. Sleeps in epoll on: its mailbox, the network worker's events
// (which is how bytes that peers put over TCP get into our memory), and the death of each peer on
// this host.
class TransferThread {
 public:
  // Returns when UCX is open, or why it is not.
  static absl::StatusOr<std::unique_ptr<TransferThread>> Start(const UcxOptions& options);
  // Ends every transfer under way with CANCELLED, closes all, joins.
  ~TransferThread();

  // Any thread. Commands after the destructor has begun are ours to avoid.
  void Post(TransferCommand command);

  const PerPath& worker_addresses() const { return addresses_; }
  const TransferCounters& counters() const { return counters_; }

 private:
  struct LivePeer {
    std::shared_ptr<PeerRecord> record;
    std::unique_ptr<UcxPeer> ucx;
    int pidfd = -1;
  };

  explicit TransferThread(const UcxOptions& options);
  void Run(std::promise<absl::Status> opened);
  absl::Status OpenWorkers();
  void Loop();
  void Shutdown();

  void Handle(OpenPeer& command);
  void Handle(ClosePeer& command);
  void Handle(PutToPeer& command);
  void Handle(AllocateMemory& command);
  void Handle(AfterDrain& command);
  void Handle(StopThread& command);
  absl::StatusOr<Region> Allocate(size_t bytes);

  bool HandleCommands();
  bool ProgressWorkers();
  bool AdvancePeers();
  void BeginClosing(LivePeer& peer, const absl::Status& why);
  absl::Duration LingerOf(const LivePeer& peer) const;
  void Sleep();
  int SleepMilliseconds() const;
  void TakeEvents(int timeout_ms);
  void Watch(int fd, PeerHandle handle);
  void WatchDeath(LivePeer& peer);
  void OnPeerDeath(PeerHandle handle);
  void OnJobEnd(PutJob& job);
  void AccountBusy(bool busy);
  UcxWorker* WorkerOf(Path path) { return workers_[static_cast<size_t>(path)].get(); }

  const UcxOptions options_;
  Mailbox<TransferCommand> mailbox_;
  WakeFd wake_;
  TransferCounters counters_;
  PerPath addresses_;

  // The transfer thread's own.
  int epoll_ = -1;
  std::unique_ptr<UcxWorker> workers_[2];
  std::unordered_map<PeerHandle, LivePeer> peers_;
  std::vector<std::unique_ptr<UcxPeer>> closing_;
  std::vector<std::function<void()>> after_drain_;
  std::optional<absl::Duration> busy_since_;
  bool stopping_ = false;

  std::thread thread_;
};

}  // namespace baton::transfer
