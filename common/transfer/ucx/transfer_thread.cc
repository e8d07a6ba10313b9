#include "common/transfer/ucx/transfer_thread.h"

#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include <algorithm>
#include <chrono>
#include <limits>
#include <utility>

#include "common/base/check.h"
#include "common/base/clock.h"
#include "spdlog/spdlog.h"

namespace baton::transfer {
namespace {

// What an epoll event is about: a peer's death (its handle), or one of these.
constexpr uint64_t kMailboxEvent = 0;
constexpr uint64_t kNetworkEvent = std::numeric_limits<uint64_t>::max();
// A busy thread never sleeps, and copies into a dead peer's memory succeed: so it looks now and
// then.
constexpr std::chrono::microseconds kLookEvery(200);

// Signals are the control thread's; a new thread inherits the mask of its maker.
class SignalsBlocked {
 public:
  SignalsBlocked() {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~SignalsBlocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

 private:
  sigset_t before_;
};

void Prefault(std::byte* data, size_t bytes) {
  // Advice only: an older kernel answers EINVAL and the pages come with their first use.
  ::madvise(data, bytes, MADV_HUGEPAGE);
#ifdef MADV_POPULATE_WRITE
  ::madvise(data, bytes, MADV_POPULATE_WRITE);
#endif
}

}  // namespace

absl::StatusOr<std::unique_ptr<TransferThread>> TransferThread::Start(const UcxOptions& options) {
  RETURN_IF_ERROR(options.Validate());
  RouteUcxLog();
  std::unique_ptr<TransferThread> transfer(new TransferThread(options));
  std::promise<absl::Status> opened;
  std::future<absl::Status> outcome = opened.get_future();
  {
    SignalsBlocked blocked;
    transfer->thread_ = std::thread(
        [raw = transfer.get(), p = std::move(opened)]() mutable { raw->Run(std::move(p)); });
  }
  RETURN_IF_ERROR(outcome.get());
  return transfer;
}

TransferThread::TransferThread(const UcxOptions& options)
    : options_(options),
      mailbox_(std::numeric_limits<size_t>::max()),  // bounded by the work that the engine accepted
      epoll_(::epoll_create1(EPOLL_CLOEXEC)) {
  CHECK(epoll_ >= 0, "epoll: out of file descriptors");
}

TransferThread::~TransferThread() {
  Post(StopThread{});
  if (thread_.joinable()) thread_.join();
  ::close(epoll_);
}

void TransferThread::Post(TransferCommand command) {
  if (mailbox_.Push(std::move(command))) wake_.Wake();
}

void TransferThread::Run(std::promise<absl::Status> opened) {
  pthread_setname_np(pthread_self(), "baton-transfer");
  const absl::Status status = OpenWorkers();
  opened.set_value(status);
  if (status.ok()) Loop();
  Shutdown();
}

absl::Status TransferThread::OpenWorkers() {
  Watch(wake_.fd(), kMailboxEvent);
  for (Path path : kPaths) {
    if (path == Path::kNetwork && options_.transports == UcxTransports::kSharedMemory) continue;
    if (path == Path::kSharedMemory && options_.transports == UcxTransports::kNetwork) continue;
    if (path == Path::kNetwork && !NetworkSurvivesPeers().ok()) {
      if (options_.transports == UcxTransports::kNetwork) return NetworkSurvivesPeers();
      spdlog::warn("{}; only peers on this host can be reached", MessageOf(NetworkSurvivesPeers()));
      continue;
    }
    ASSIGN_OR_RETURN(workers_[static_cast<size_t>(path)], UcxWorker::Create(path, options_));
    addresses_[path] = WorkerOf(path)->address();
    if (WorkerOf(path)->event_fd() >= 0) Watch(WorkerOf(path)->event_fd(), kNetworkEvent);
  }
  return absl::OkStatus();
}

void TransferThread::Loop() {
  auto last_move = std::chrono::steady_clock::now();
  auto last_look = last_move;
  const auto spin = absl::ToChronoNanoseconds(options_.spin);
  while (!stopping_) {
    bool moved = HandleCommands();
    moved |= ProgressWorkers();
    moved |= AdvancePeers();
    if (moved) {
      last_move = std::chrono::steady_clock::now();
      if (last_move - last_look >= kLookEvery) {
        TakeEvents(0);
        last_look = last_move;
      }
      continue;
    }
    // Nothing moved: whatever had reached our sockets is in memory now.
    for (auto& then : std::exchange(after_drain_, {})) then();
    if (busy_since_ && std::chrono::steady_clock::now() - last_move < spin) continue;
    Sleep();
  }
}

void TransferThread::Sleep() {
  UcxWorker* network = WorkerOf(Path::kNetwork);
  if (network != nullptr && !network->Arm()) return;
  TakeEvents(SleepMilliseconds());
}

// How long to sleep when nothing wakes us: for ever, but for closing endpoints whose last bytes
// linger.
int TransferThread::SleepMilliseconds() const {
  absl::Duration patience = absl::InfiniteDuration();
  for (const auto& peer : closing_) {
    patience = std::min(patience, peer->lingers_until() - Clock::Real().Monotonic());
  }
  for (const auto& [handle, peer] : peers_) {
    // Shared memory has no event to wait for; in practice nothing is ever under way there.
    if (peer.ucx && peer.ucx->in_flight() && peer.record->path == Path::kSharedMemory)
      patience = {};
  }
  if (patience == absl::InfiniteDuration()) return -1;
  return 1 + static_cast<int>(absl::ToInt64Milliseconds(std::max(patience, absl::ZeroDuration())));
}

void TransferThread::TakeEvents(int timeout_ms) {
  epoll_event events[16];
  const int num_events = ::epoll_wait(epoll_, events, 16, timeout_ms);
  for (int i = 0; i < num_events; ++i) {
    if (events[i].data.u64 == kMailboxEvent) {
      wake_.Clear();
    } else if (events[i].data.u64 != kNetworkEvent) {
      OnPeerDeath(events[i].data.u64);
    }
  }
}

bool TransferThread::HandleCommands() {
  std::vector<TransferCommand> commands = mailbox_.Drain();
  for (TransferCommand& command : commands) {
    std::visit([this](auto& one) { Handle(one); }, command);
  }
  return !commands.empty();
}

bool TransferThread::ProgressWorkers() {
  bool moved = false;
  if (UcxWorker* network = WorkerOf(Path::kNetwork)) moved |= network->Progress();
  if (UcxWorker* shared = WorkerOf(Path::kSharedMemory); shared != nullptr && busy_since_) {
    moved |= shared->Progress();
  }
  return moved;
}

bool TransferThread::AdvancePeers() {
  bool moved = false;
  bool busy = false;
  for (auto& [handle, peer] : peers_) {
    if (!peer.ucx) continue;
    moved |= peer.ucx->Advance();
    if (peer.ucx->failed()) BeginClosing(peer, absl::UnavailableError("the peer is gone"));
    if (peer.ucx) busy |= !peer.ucx->idle();
  }
  for (auto& peer : closing_) {
    moved |= peer->Advance();
    busy |= peer->in_flight();
  }
  moved |= std::erase_if(closing_, [](const auto& peer) { return peer->closed(); }) > 0;
  AccountBusy(busy);
  return moved;
}

void TransferThread::BeginClosing(LivePeer& peer, const absl::Status& why) {
  peer.record->broken = true;
  if (peer.pidfd >= 0) ::close(std::exchange(peer.pidfd, -1));  // leaves the epoll set by itself
  if (!peer.ucx) return;
  peer.ucx->Close(why, LingerOf(peer));
  closing_.push_back(std::move(peer.ucx));
}

// Nothing can land in a process that has ended; and when this one is ending, its readers wait for
// that.
absl::Duration TransferThread::LingerOf(const LivePeer& peer) const {
  const bool reader_ended = peer.record->same_host && HasEnded(*peer.record->same_host);
  return reader_ended || stopping_ ? absl::ZeroDuration() : options_.socket_linger;
}

void TransferThread::AccountBusy(bool busy) {
  if (busy == busy_since_.has_value()) return;
  if (busy) {
    busy_since_ = Clock::Real().Monotonic();
    return;
  }
  counters_.busy_nanoseconds += absl::ToInt64Nanoseconds(Clock::Real().Monotonic() - *busy_since_);
  busy_since_.reset();
}

void TransferThread::Handle(OpenPeer& command) {
  LivePeer& peer = peers_[command.peer->handle];
  peer.record = command.peer;
  peer.ucx = std::make_unique<UcxPeer>(*WorkerOf(command.peer->path), command.peer->worker_address,
                                       [this](PutJob& job) { OnJobEnd(job); });
  WatchDeath(peer);
}

void TransferThread::Handle(ClosePeer& command) {
  auto found = peers_.find(command.peer);
  if (found == peers_.end()) return;
  BeginClosing(found->second, absl::CancelledError("disconnected from the peer"));
  peers_.erase(found);
}

void TransferThread::Handle(PutToPeer& command) {
  auto found = peers_.find(command.peer);
  if (found != peers_.end() && found->second.ucx) {
    found->second.ucx->Add(std::move(command.job));
    AccountBusy(true);
    return;
  }
  command.job->status = found == peers_.end()
                            ? FailedPrecondition("transfer peer {} is not connected", command.peer)
                            : Unavailable("transfer peer {} is gone", command.peer);
  OnJobEnd(*command.job);
}

void TransferThread::Handle(AllocateMemory& command) {
  command.result->set_value(Allocate(command.bytes));
}

void TransferThread::Handle(AfterDrain& command) {
  after_drain_.push_back(std::move(command.then));
}

void TransferThread::Handle(StopThread&) { stopping_ = true; }

absl::StatusOr<Region> TransferThread::Allocate(size_t bytes) {
  if (bytes == 0) return InvalidArgument("a region of 0 bytes");
  Region region;
  region.bytes = bytes;
  RemoteKey key;
  for (Path path : kPaths) {
    if (WorkerOf(path) == nullptr) continue;
    ASSIGN_OR_RETURN(UcxWorker::Memory memory, WorkerOf(path)->MapMemory(region.data, bytes));
    region.data = memory.data;
    key.keys[path] = std::move(memory.remote_key);
  }
  region.address = reinterpret_cast<uint64_t>(region.data);
  key.address = region.address;
  key.bytes = bytes;
  region.remote_key = key.Pack();
  if (options_.prefault) Prefault(region.data, bytes);
  return region;
}

void TransferThread::OnJobEnd(PutJob& job) {
  if (job.status.ok()) {
    counters_.puts += job.puts.size();
    counters_.bytes_put += job.bytes;
  } else {
    ++counters_.puts_failed;
  }
  job.done(job.status);
}

void TransferThread::Watch(int fd, PeerHandle handle) {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = handle;
  CHECK(::epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event) == 0, "epoll_ctl: errno {}", errno);
}

// A dead peer on this host would otherwise go unnoticed: copying into its memory keeps working, and
// the mapping keeps that memory from being freed.
void TransferThread::WatchDeath(LivePeer& peer) {
  if (!peer.record->same_host) return;
  const ProcessIdentity& process = *peer.record->same_host;
  peer.pidfd = static_cast<int>(::syscall(SYS_pidfd_open, process.pid, 0));
  if (peer.pidfd >= 0) Watch(peer.pidfd, peer.record->handle);
  if (HasEnded(process))
    OnPeerDeath(peer.record->handle);  // before, or its pid is another's by now
}

void TransferThread::OnPeerDeath(PeerHandle handle) {
  auto found = peers_.find(handle);
  if (found == peers_.end()) return;
  BeginClosing(found->second, Unavailable("the peer's process {} has ended",
                                          found->second.record->same_host->pid));
}

void TransferThread::Shutdown() {
  mailbox_.Close();
  HandleCommands();
  const absl::Status stopped = absl::CancelledError("the transport is shutting down");
  for (auto& [handle, peer] : peers_) BeginClosing(peer, stopped);
  peers_.clear();
  const absl::Duration deadline = Clock::Real().Monotonic() + absl::Seconds(30);
  while (!closing_.empty()) {
    ProgressWorkers();
    AdvancePeers();
    CHECK(Clock::Real().Monotonic() < deadline, "UCX did not close {} endpoints", closing_.size());
  }
  for (auto& then : std::exchange(after_drain_, {})) then();
  for (auto& worker : workers_) worker.reset();
}

}  // namespace baton::transfer
