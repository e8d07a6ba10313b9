#include "common/transfer/loopback/loopback_transport.h"

#include <utility>

#include "absl/time/clock.h"

namespace baton::transfer {

LoopbackTransport::LoopbackTransport(LoopbackFabric& fabric)
    : fabric_(fabric), local_(fabric.Join()), thread_([this] { Run(); }) {}

LoopbackTransport::~LoopbackTransport() {
  {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
  }
  fabric_.Nudge();
  thread_.join();
}

absl::StatusOr<Region> LoopbackTransport::AllocateRegion(size_t bytes) {
  if (bytes == 0) return InvalidArgument("a region of 0 bytes");
  return fabric_.AddRegion(local_, bytes);
}

absl::StatusOr<PeerHandle> LoopbackTransport::Connect(const PeerAddress& peer) {
  if (peer.transport != local_.transport) {
    return FailedPrecondition("the peer's transport is '{}', ours is '{}'", peer.transport,
                              local_.transport);
  }
  absl::MutexLock lock(&mutex_);
  for (const auto& [handle, known] : peers_) {
    if (known.worker == peer.worker) return handle;
  }
  peers_[next_handle_] = peer;
  return next_handle_++;
}

void LoopbackTransport::Disconnect(PeerHandle peer) {
  {
    absl::MutexLock lock(&mutex_);
    peers_.erase(peer);
  }
  fabric_.Nudge();
}

void LoopbackTransport::PutAll(PeerHandle peer, std::string remote_key, std::vector<Put> puts,
                               std::function<void(absl::Status)> done) {
  absl::MutexLock lock(&mutex_);
  jobs_.push_back({peer, std::move(remote_key), std::move(puts), std::move(done)});
}

PeerState LoopbackTransport::Probe(const PeerAddress& peer) const {
  return fabric_.IsGone(peer) ? PeerState::kGone : PeerState::kAlive;
}

std::string LoopbackTransport::PathTo(PeerHandle peer) const {
  absl::MutexLock lock(&mutex_);
  return peers_.contains(peer) ? "loopback" : "none";
}

Transport::Counters LoopbackTransport::counters() const {
  absl::MutexLock lock(&mutex_);
  return counters_;
}

void LoopbackTransport::Run() {
  while (true) {
    Job job;
    {
      absl::MutexLock lock(&mutex_);
      mutex_.Await(absl::Condition(this, &LoopbackTransport::HasWork));
      if (jobs_.empty()) return;
      job = std::move(jobs_.front());
      jobs_.pop_front();
    }
    const absl::Time begin = absl::Now();
    const absl::Status status = Execute(job);
    if (fabric_.IsGone(local_)) continue;  // the dead run no callbacks
    {
      absl::MutexLock lock(&mutex_);
      counters_.busy_seconds += absl::ToDoubleSeconds(absl::Now() - begin);
      if (status.ok()) {
        counters_.puts += job.puts.size();
        for (const Put& put : job.puts) counters_.bytes_put += put.bytes;
      } else {
        ++counters_.puts_failed;
      }
    }
    job.done(status);
  }
}

absl::Status LoopbackTransport::Execute(const Job& job) {
  PeerAddress to;
  {
    absl::MutexLock lock(&mutex_);
    if (stopping_) return absl::CancelledError("the transport is shutting down");
    auto found = peers_.find(job.peer);
    if (found == peers_.end())
      return FailedPrecondition("transfer peer {} is not connected", job.peer);
    to = found->second;
  }
  const auto cancelled = [&] { return IsCancelled(job.peer); };
  for (const Put& put : job.puts) {
    if (cancelled()) return absl::CancelledError("disconnected from the peer");
    RETURN_IF_ERROR(fabric_.Copy(local_, to, job.remote_key, put, cancelled));
  }
  return absl::OkStatus();
}

bool LoopbackTransport::IsCancelled(PeerHandle peer) const {
  absl::MutexLock lock(&mutex_);
  return stopping_ || !peers_.contains(peer);
}

}  // namespace baton::transfer
