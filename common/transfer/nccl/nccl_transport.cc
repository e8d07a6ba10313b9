#include "common/transfer/nccl/nccl_transport.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <limits>
#include <random>
#include <utility>

#include "common/base/check.h"
#include "common/base/clock.h"
#include "common/transfer/process_identity.h"

namespace baton::transfer {
namespace {

constexpr char kTransportName[] = "nccl";
// While something waits for the GPU or for time: how long to sleep between two looks at it.
constexpr int kLookEveryMs = 1;

std::string MakeToken() {
  std::random_device random;
  return fmt::format("{:08x}{:08x}{:08x}{:08x}", random(), random(), random(), random());
}

// How peers name this process: where to dial, and the word that lets them in.
struct Dialled {
  std::string host;
  int port = 0;
  std::string token;

  std::string Text() const { return fmt::format("{}/{}/{}", host, port, token); }
  static std::optional<Dialled> Parse(const std::string& text) {
    const size_t last = text.rfind('/');
    const size_t middle = last == 0 || last == std::string::npos ? last : text.rfind('/', last - 1);
    if (last == std::string::npos || middle == std::string::npos) return std::nullopt;
    const std::string port = text.substr(middle + 1, last - middle - 1);
    const bool number = !port.empty() && port.size() <= 5 &&
                        port.find_first_not_of("0123456789") == std::string::npos;
    if (!number || std::stoi(port) > 65535) return std::nullopt;
    return Dialled{text.substr(0, middle), std::stoi(port), text.substr(last + 1)};
  }
};

PeerAddress MakeAddress(const NcclOptions& options, int port, const std::string& token) {
  const std::string& host =
      options.advertise_host.empty() ? options.listen_host : options.advertise_host;
  const ProcessIdentity self = ThisProcess();
  PeerAddress address;
  address.transport = kTransportName;
  address.worker = Dialled{host, port, token}.Text();
  address.host_id = ThisHostId();
  address.process_id = self.pid;
  address.process_start = self.start;
  return address;
}

}  // namespace

absl::StatusOr<std::unique_ptr<NcclTransport>> NcclTransport::Create(
    const NcclOptions& options, std::unique_ptr<PairLinks> links) {
  ASSIGN_OR_RETURN(const Listening listening, ListenForPeers(options.listen_host));
  return std::unique_ptr<NcclTransport>(new NcclTransport(options, std::move(links), listening));
}

NcclTransport::NcclTransport(const NcclOptions& options, std::unique_ptr<PairLinks> links,
                             Listening listening)
    : options_(options),
      listening_(listening),
      token_(MakeToken()),
      local_(MakeAddress(options, listening.port, token_)),
      links_(std::move(links)),
      mailbox_(std::numeric_limits<size_t>::max()) {  // bounded by the work that was accepted
  // Signals are the control thread's; a new thread inherits the mask of its maker.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  thread_ = std::thread([this] { Run(); });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

NcclTransport::~NcclTransport() {
  Post(Stop{});
  thread_.join();
  ::close(listening_.fd);
}

void NcclTransport::Post(Command command) {
  if (mailbox_.Push(std::move(command))) wake_.Wake();
}

absl::StatusOr<Region> NcclTransport::AllocateRegion(size_t bytes) {
  if (bytes == 0) return InvalidArgument("a region of 0 bytes");
  Region region;
  region.bytes = bytes;
  ASSIGN_OR_RETURN(region.data, links_->Allocate(bytes));
  region.address = reinterpret_cast<uint64_t>(region.data);
  const RegionKey key{region.address, region.bytes, token_};
  region.remote_key = key.Pack();
  std::promise<void> added;
  Post(AddRegion{key, &added});
  added.get_future().wait();
  return region;
}

absl::StatusOr<PeerHandle> NcclTransport::Connect(const PeerAddress& address) {
  if (address.transport != kTransportName) {
    return FailedPrecondition("the peer's transport is '{}', ours is '{}'", address.transport,
                              kTransportName);
  }
  const std::optional<Dialled> dialled = Dialled::Parse(address.worker);
  if (!dialled) return InvalidArgument("the peer's worker address is not one of this transport's");
  auto peer = std::make_shared<Peer>();
  peer->host = dialled->host;
  peer->port = dialled->port;
  peer->token = dialled->token;
  absl::MutexLock lock(&mutex_);
  if (auto known = by_address_.find(address.worker); known != by_address_.end()) {
    if (!peers_.at(known->second)->broken) return known->second;
    peers_.erase(known->second);
    Post(Shut{known->second});
  }
  peer->handle = next_handle_++;
  by_address_[address.worker] = peer->handle;
  peers_[peer->handle] = peer;
  Post(Open{peer});
  return peer->handle;
}

void NcclTransport::Disconnect(PeerHandle peer) {
  absl::MutexLock lock(&mutex_);
  if (peers_.erase(peer) == 0) return;
  std::erase_if(by_address_, [&](const auto& entry) { return entry.second == peer; });
  Post(Shut{peer});
}

void NcclTransport::PutAll(PeerHandle peer, std::string remote_key, std::vector<Put> puts,
                           std::function<void(absl::Status)> done) {
  auto job = std::make_unique<NcclJob>();
  job->remote_key = std::move(remote_key);
  job->puts = std::move(puts);
  job->done = std::move(done);
  Post(PutTo{peer, std::move(job)});
}

PeerState NcclTransport::Probe(const PeerAddress& peer) const {
  if (peer.host_id != local_.host_id) return PeerState::kUnknown;
  const ProcessIdentity process{peer.process_id, peer.process_start};
  if (!HasEnded(process)) return PeerState::kAlive;
  absl::MutexLock lock(&mutex_);
  const bool writes = std::ranges::find(writing_here_, process) != writing_here_.end();
  return writes ? PeerState::kUnknown : PeerState::kGone;
}

std::string NcclTransport::PathTo(PeerHandle peer) const {
  absl::MutexLock lock(&mutex_);
  return peers_.contains(peer) ? kTransportName : "none";
}

Transport::Counters NcclTransport::counters() const {
  absl::MutexLock lock(&mutex_);
  return counters_;
}

// ---- the transfer thread -----------------------------------------------------------------------

void NcclTransport::Run() {
  pthread_setname_np(pthread_self(), "baton-transfer");
  while (!stopping_) {
    bool moved = HandleCommands();
    moved |= Accept();
    moved |= AdvanceAll();
    if (moved) {
      moved_at_ = Clock::Real().Monotonic();
    } else {
      Sleep();
    }
  }
  EndAll();
}

bool NcclTransport::HandleCommands() {
  std::vector<Command> commands = mailbox_.Drain();
  for (Command& command : commands) {
    std::visit([this](auto& one) { Handle(one); }, command);
  }
  return !commands.empty();
}

void NcclTransport::Handle(Open& command) {
  Outgoing& outgoing = outgoing_[command.peer->handle];
  outgoing.peer = command.peer;
  absl::StatusOr<ControlSocket> socket =
      ControlSocket::Dial(command.peer->host, command.peer->port);
  if (!socket.ok()) {
    command.peer->broken = true;
    return;
  }
  outgoing.writer =
      std::make_unique<PutWriter>(*std::move(socket), command.peer->token, *links_, options_.linger,
                                  [this](NcclJob& job) { OnJobEnd(job); });
}

void NcclTransport::Handle(Shut& command) {
  auto found = outgoing_.find(command.peer);
  if (found == outgoing_.end()) return;
  if (std::unique_ptr<PutWriter> writer = std::move(found->second.writer)) {
    writer->Close(absl::CancelledError("disconnected from the peer"), Clock::Real().Monotonic());
    closing_.push_back(std::move(writer));
  }
  outgoing_.erase(found);
}

void NcclTransport::Handle(PutTo& command) {
  auto found = outgoing_.find(command.peer);
  if (found != outgoing_.end() && found->second.writer && !found->second.writer->failed()) {
    if (!busy_since_) busy_since_ = Clock::Real().Monotonic();
    return found->second.writer->Add(std::move(command.job));
  }
  command.job->status = found == outgoing_.end()
                            ? FailedPrecondition("transfer peer {} is not connected", command.peer)
                            : Unavailable("transfer peer {} is gone", command.peer);
  OnJobEnd(*command.job);
}

void NcclTransport::Handle(AddRegion& command) {
  regions_.push_back(command.key);
  command.added->set_value();
}

void NcclTransport::Handle(Stop&) { stopping_ = true; }

bool NcclTransport::Accept() {
  bool any = false;
  while (true) {
    const int fd = ::accept4(listening_.fd, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) return any;
    readers_.push_back(std::make_unique<PutReader>(ControlSocket(fd), token_, regions_, *links_));
    any = true;
  }
}

bool NcclTransport::AdvanceAll() {
  const absl::Duration now = Clock::Real().Monotonic();
  bool moved = false;
  bool busy = false;
  for (auto& [handle, outgoing] : outgoing_) {
    if (!outgoing.writer) continue;
    moved |= outgoing.writer->Advance(now);
    busy |= !outgoing.writer->idle();
    if (!outgoing.writer->failed()) continue;
    outgoing.peer->broken = true;
    closing_.push_back(std::move(outgoing.writer));
  }
  for (auto& writer : closing_) {
    moved |= writer->Advance(now);
    busy |= !writer->idle();
  }
  std::erase_if(closing_, [](const auto& writer) { return writer->closed(); });
  for (auto& reader : readers_) moved |= reader->Advance();
  const size_t over = std::erase_if(readers_, [](const auto& reader) { return reader->over(); });
  if (moved || over > 0) NoteWriters();
  if (!busy && busy_since_) {
    absl::MutexLock lock(&mutex_);
    counters_.busy_seconds += absl::ToDoubleSeconds(now - *busy_since_);
    busy_since_.reset();
  }
  return moved;
}

void NcclTransport::NoteWriters() {
  absl::MutexLock lock(&mutex_);
  writing_here_.clear();
  for (const auto& reader : readers_) {
    if (reader->host_id() == local_.host_id) writing_here_.push_back(reader->process());
  }
}

void NcclTransport::Sleep() {
  std::vector<pollfd> waits = {{wake_.fd(), POLLIN, 0}, {listening_.fd, POLLIN, 0}};
  bool poll = false;
  const auto add = [&](const auto& side) {
    poll |= side.needs_polling();
    const ControlSocket& socket = side.socket();
    if (socket.fd() < 0) return;
    const bool writes = socket.wants_write();
    waits.push_back({socket.fd(), static_cast<short>(writes ? POLLIN | POLLOUT : POLLIN), 0});
  };
  for (const auto& [handle, outgoing] : outgoing_) {
    if (outgoing.writer) add(*outgoing.writer);
  }
  for (const auto& writer : closing_) add(*writer);
  for (const auto& reader : readers_) add(*reader);
  const bool spin = poll && Clock::Real().Monotonic() - moved_at_ < options_.spin;
  ::poll(waits.data(), waits.size(), !poll ? -1 : spin ? 0 : kLookEveryMs);
  if ((waits[0].revents & POLLIN) != 0) wake_.Clear();
}

void NcclTransport::EndAll() {
  mailbox_.Close();
  HandleCommands();
  for (auto& [handle, outgoing] : outgoing_) {
    if (outgoing.writer) outgoing.writer->Abandon();
  }
  for (auto& writer : closing_) writer->Abandon();
  outgoing_.clear();
  closing_.clear();
  readers_.clear();
}

void NcclTransport::OnJobEnd(NcclJob& job) {
  {
    absl::MutexLock lock(&mutex_);
    if (job.status.ok()) {
      counters_.puts += job.puts.size();
      for (const Put& put : job.puts) counters_.bytes_put += put.bytes;
    } else {
      ++counters_.puts_failed;
    }
  }
  job.done(job.status);
}

}  // namespace baton::transfer
