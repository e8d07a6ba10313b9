#pragma once

#include <atomic>
#include <future>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <unordered_map>
#include <variant>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "common/concurrency/mailbox.h"
#include "common/transfer/nccl/control_socket.h"
#include "common/transfer/nccl/nccl_options.h"
#include "common/transfer/nccl/pair_link.h"
#include "common/transfer/nccl/put_reader.h"
#include "common/transfer/nccl/put_writer.h"
#include "common/transfer/transport.h"
#include "common/transfer/ucx/wake_fd.h"

namespace baton::transfer {

// Transport over NCCL: a communicator of two for each pair of processes, and a TCP connection
// beside it by which they agree what is sent. Unlike UCX's puts, both sides take part: a reader
// receives on its own transfer thread. A peer is lost when the connection ends, which aborts its
// communicator on the other side.
//
// Thread-safe. Owns the transfer thread, which alone touches sockets and links.
class NcclTransport : public Transport {
 public:
  // `links` is the library; owned.
  static absl::StatusOr<std::unique_ptr<NcclTransport>> Create(const NcclOptions& options,
                                                               std::unique_ptr<PairLinks> links);
  ~NcclTransport() override;

  absl::StatusOr<Region> AllocateRegion(size_t bytes) override;
  PeerAddress local_address() const override { return local_; }
  absl::StatusOr<PeerHandle> Connect(const PeerAddress& peer) override;
  void Disconnect(PeerHandle peer) override;
  void PutAll(PeerHandle peer, std::string remote_key, std::vector<Put> puts,
              std::function<void(absl::Status)> done) override;
  // A process of this host is gone when it has ended and nothing is received from it any more.
  PeerState Probe(const PeerAddress& peer) const override;
  std::string PathTo(PeerHandle peer) const override;
  Counters counters() const override;

 private:
  struct Peer {
    PeerHandle handle = 0;
    std::string host;
    int port = 0;
    std::string token;
    std::atomic<bool> broken = false;
  };
  struct Open {
    std::shared_ptr<Peer> peer;
  };
  struct Shut {
    PeerHandle peer = 0;
  };
  struct PutTo {
    PeerHandle peer = 0;
    std::unique_ptr<NcclJob> job;
  };
  struct AddRegion {
    RegionKey key;
    std::promise<void>* added = nullptr;  // outlives the command
  };
  struct Stop {};
  using Command = std::variant<Open, Shut, PutTo, AddRegion, Stop>;
  struct Outgoing {
    std::shared_ptr<Peer> peer;
    std::unique_ptr<PutWriter> writer;
  };

  NcclTransport(const NcclOptions& options, std::unique_ptr<PairLinks> links, Listening listening);
  void Post(Command command);
  void Run();
  void Handle(Open& command);
  void Handle(Shut& command);
  void Handle(PutTo& command);
  void Handle(AddRegion& command);
  void Handle(Stop& command);
  bool HandleCommands();
  bool Accept();
  bool AdvanceAll();
  void NoteWriters();
  void Sleep();
  void EndAll();
  void OnJobEnd(NcclJob& job);

  const NcclOptions options_;
  const Listening listening_;
  const std::string token_;  // whoever knows it was told our address
  const PeerAddress local_;
  const std::unique_ptr<PairLinks> links_;
  Mailbox<Command> mailbox_;
  WakeFd wake_;

  mutable absl::Mutex mutex_;
  PeerHandle next_handle_ ABSL_GUARDED_BY(mutex_) = 1;
  std::unordered_map<PeerHandle, std::shared_ptr<Peer>> peers_ ABSL_GUARDED_BY(mutex_);
  std::unordered_map<std::string, PeerHandle> by_address_ ABSL_GUARDED_BY(mutex_);
  std::vector<ProcessIdentity> writing_here_ ABSL_GUARDED_BY(mutex_);  // of this host
  Counters counters_ ABSL_GUARDED_BY(mutex_);

  // The transfer thread's own.
  std::vector<RegionKey> regions_;
  std::map<PeerHandle, Outgoing> outgoing_;
  std::vector<std::unique_ptr<PutWriter>> closing_;
  std::vector<std::unique_ptr<PutReader>> readers_;
  std::optional<absl::Duration> busy_since_;
  absl::Duration moved_at_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace baton::transfer
