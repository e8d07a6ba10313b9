#include "common/transfer/ucx/ucx_transport.h"

#include <utility>

#include "common/base/check.h"
#include "common/base/clock.h"

namespace baton::transfer {

// A process of this host that put over a network and was found dead. Its last bytes may be on their
// way through the kernel: they have arrived once `found + socket_linger` has passed and the
// transfer thread has then taken everything out of its sockets.
struct UcxTransport::Death {
  absl::Duration found;               // monotonic: a wall clock that is set proves nothing
  bool drain_asked = false;           // guarded by the transport's mutex
  std::atomic<bool> drained = false;  // set by the transfer thread
};

namespace {

constexpr char kTransportName[] = "ucx";

PeerAddress MakeAddress(const PerPath& worker_addresses) {
  const ProcessIdentity self = ThisProcess();
  PeerAddress address;
  address.transport = kTransportName;
  address.worker = worker_addresses.Pack();
  address.host_id = ThisHostId();
  address.process_id = self.pid;
  address.process_start = self.start;
  return address;
}

}  // namespace

absl::StatusOr<std::unique_ptr<UcxTransport>> UcxTransport::Create(const UcxOptions& options) {
  ASSIGN_OR_RETURN(std::unique_ptr<TransferThread> thread, TransferThread::Start(options));
  return std::unique_ptr<UcxTransport>(new UcxTransport(std::move(thread), options));
}

UcxTransport::UcxTransport(std::unique_ptr<TransferThread> thread, const UcxOptions& options)
    : options_(options),
      local_(MakeAddress(thread->worker_addresses())),
      thread_(std::move(thread)) {}

UcxTransport::~UcxTransport() = default;

absl::StatusOr<Region> UcxTransport::AllocateRegion(size_t bytes) {
  std::promise<absl::StatusOr<Region>> result;
  thread_->Post(AllocateMemory{bytes, &result});
  return result.get_future().get();
}

PeerAddress UcxTransport::local_address() const { return local_; }

absl::StatusOr<Path> UcxTransport::ChoosePath(const PeerAddress& peer,
                                              const PerPath& theirs) const {
  const PerPath& ours = thread_->worker_addresses();
  auto both_have = [&](Path path) { return !ours[path].empty() && !theirs[path].empty(); };
  if (peer.host_id == local_.host_id && both_have(Path::kSharedMemory)) return Path::kSharedMemory;
  if (both_have(Path::kNetwork)) return Path::kNetwork;
  return FailedPrecondition(
      "no common path to process {}: it is {} this host, and one side allows {} only",
      peer.process_id, peer.host_id == local_.host_id ? "on" : "not on",
      ours[Path::kNetwork].empty() || theirs[Path::kNetwork].empty() ? "shared memory"
                                                                     : "the network");
}

absl::StatusOr<std::shared_ptr<PeerRecord>> UcxTransport::MakeRecord(
    const PeerAddress& peer) const {
  if (peer.transport != kTransportName) {
    return FailedPrecondition("the peer's transport is '{}', ours is '{}'", peer.transport,
                              kTransportName);
  }
  const std::optional<PerPath> theirs = PerPath::Unpack(peer.worker);
  if (!theirs) return InvalidArgument("the peer's worker address is not one of this transport's");
  auto record = std::make_shared<PeerRecord>();
  ASSIGN_OR_RETURN(record->path, ChoosePath(peer, *theirs));
  record->worker_address = (*theirs)[record->path];
  if (peer.host_id == local_.host_id) {
    record->same_host = ProcessIdentity{peer.process_id, peer.process_start};
  }
  return record;
}

absl::StatusOr<PeerHandle> UcxTransport::Connect(const PeerAddress& peer) {
  ASSIGN_OR_RETURN(std::shared_ptr<PeerRecord> record, MakeRecord(peer));
  absl::MutexLock lock(&mutex_);
  auto known = by_address_.find(peer.worker);
  if (known != by_address_.end()) {
    if (!peers_.at(known->second)->broken) return known->second;
    peers_.erase(known->second);
    thread_->Post(ClosePeer{known->second});
  }
  record->handle = next_handle_++;
  by_address_[peer.worker] = record->handle;
  peers_[record->handle] = record;
  thread_->Post(OpenPeer{record});
  return record->handle;
}

void UcxTransport::Disconnect(PeerHandle peer) {
  absl::MutexLock lock(&mutex_);
  if (peers_.erase(peer) == 0) return;
  for (auto it = by_address_.begin(); it != by_address_.end(); ++it) {
    if (it->second != peer) continue;
    by_address_.erase(it);
    break;
  }
  thread_->Post(ClosePeer{peer});
}

void UcxTransport::PutAll(PeerHandle peer, std::string remote_key, std::vector<Put> puts,
                          std::function<void(absl::Status)> done) {
  auto job = std::make_unique<PutJob>();
  for (const Put& put : puts) job->bytes += put.bytes;
  job->remote_key = std::move(remote_key);
  job->puts = std::move(puts);
  job->done = std::move(done);
  thread_->Post(PutToPeer{peer, std::move(job)});
}

PeerState UcxTransport::Probe(const PeerAddress& peer) const {
  if (peer.host_id != local_.host_id) return PeerState::kUnknown;
  const ProcessIdentity process{peer.process_id, peer.process_start};
  if (!HasEnded(process)) return PeerState::kAlive;
  const std::optional<PerPath> theirs = PerPath::Unpack(peer.worker);
  if (theirs && ChoosePath(peer, *theirs).value_or(Path::kNetwork) == Path::kSharedMemory) {
    return PeerState::kGone;  // its copies ended with it
  }
  return SocketsOfDead(process);
}

PeerState UcxTransport::SocketsOfDead(const ProcessIdentity& process) const {
  absl::MutexLock lock(&mutex_);
  std::shared_ptr<Death>& death = deaths_[process];
  if (!death) {
    death = std::make_shared<Death>();
    death->found = Clock::Real().Monotonic();
  }
  if (death->drained) return PeerState::kGone;
  if (!death->drain_asked && Clock::Real().Monotonic() - death->found >= options_.socket_linger) {
    death->drain_asked = true;
    thread_->Post(AfterDrain{[death] { death->drained = true; }});
  }
  return PeerState::kUnknown;
}

std::string UcxTransport::PathTo(PeerHandle peer) const {
  absl::MutexLock lock(&mutex_);
  auto found = peers_.find(peer);
  if (found == peers_.end()) return "none";
  return found->second->path == Path::kSharedMemory ? "shared memory" : options_.network_tls;
}

Transport::Counters UcxTransport::counters() const {
  const TransferCounters& counters = thread_->counters();
  return {counters.bytes_put, counters.puts, counters.puts_failed,
          static_cast<double>(counters.busy_nanoseconds) * 1e-9};
}

}  // namespace baton::transfer
