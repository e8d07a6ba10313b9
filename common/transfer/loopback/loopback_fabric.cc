#include "common/transfer/loopback/loopback_fabric.h"

#include <cstring>
#include <utility>

namespace baton::transfer {

void LoopbackFabric::Pause(uint64_t after_pieces) {
  absl::MutexLock lock(&mutex_);
  paused_ = true;
  pieces_until_pause_ = after_pieces;
}

void LoopbackFabric::Resume() {
  absl::MutexLock lock(&mutex_);
  paused_ = false;
  changed_.SignalAll();
}

void LoopbackFabric::AwaitHeldTransfer() {
  absl::MutexLock lock(&mutex_);
  while (held_ == 0) changed_.Wait(&mutex_);
}

void LoopbackFabric::Kill(const PeerAddress& endpoint) {
  absl::MutexLock lock(&mutex_);
  gone_.insert(endpoint.worker);
  changed_.SignalAll();
}

void LoopbackFabric::SetFault(Fault fault) {
  absl::MutexLock lock(&mutex_);
  fault_ = std::move(fault);
}

void LoopbackFabric::Nudge() {
  absl::MutexLock lock(&mutex_);
  changed_.SignalAll();
}

PeerAddress LoopbackFabric::Join() {
  absl::MutexLock lock(&mutex_);
  const int64_t number = ++num_joined_;
  return {"loopback", fmt::format("endpoint-{}", number), "loopback", number, 1};
}

Region LoopbackFabric::AddRegion(const PeerAddress& owner, size_t bytes) {
  absl::MutexLock lock(&mutex_);
  const std::string key = fmt::format("{}/region-{}", owner.worker, regions_.size());
  Memory& memory = regions_[key];
  memory = {owner.worker, std::make_unique<std::byte[]>(bytes), bytes};
  return {memory.data.get(), bytes, key, reinterpret_cast<uint64_t>(memory.data.get())};
}

bool LoopbackFabric::IsGone(const PeerAddress& endpoint) const {
  absl::MutexLock lock(&mutex_);
  return gone_.contains(endpoint.worker);
}

bool LoopbackFabric::GateIsOpen() const { return !paused_ || pieces_until_pause_ > 0; }

absl::Status LoopbackFabric::CheckAlive(const PeerAddress& from, const PeerAddress& to) const {
  if (gone_.contains(from.worker)) return absl::AbortedError("this endpoint was killed");
  if (gone_.contains(to.worker)) return Unavailable("{} is gone", to.worker);
  return absl::OkStatus();
}

absl::Status LoopbackFabric::PassGate(const PeerAddress& from, const PeerAddress& to,
                                      const std::function<bool()>& cancelled) {
  Fault fault;
  {
    absl::MutexLock lock(&mutex_);
    ++held_;
    while (!GateIsOpen() && !cancelled() && !gone_.contains(from.worker) &&
           !gone_.contains(to.worker)) {
      changed_.SignalAll();
      changed_.Wait(&mutex_);
    }
    --held_;
    RETURN_IF_ERROR(CheckAlive(from, to));
    if (cancelled()) return absl::CancelledError("disconnected from the peer");
    if (paused_) --pieces_until_pause_;
    fault = fault_;
  }
  return fault ? fault(from, to) : absl::OkStatus();
}

absl::Status LoopbackFabric::Copy(const PeerAddress& from, const PeerAddress& to,
                                  const std::string& remote_key, const Put& put,
                                  const std::function<bool()>& cancelled) {
  RETURN_IF_ERROR(PassGate(from, to, cancelled));
  absl::MutexLock lock(&mutex_);
  RETURN_IF_ERROR(CheckAlive(from, to));  // again: kGone may have been said since the gate
  auto found = regions_.find(remote_key);
  if (found == regions_.end() || found->second.owner != to.worker) {
    return InvalidArgument("remote_key is not of a region of {}", to.worker);
  }
  const uint64_t base = reinterpret_cast<uint64_t>(found->second.data.get());
  if (put.remote_address < base || put.bytes > found->second.bytes ||
      put.remote_address - base > found->second.bytes - put.bytes) {
    return InvalidArgument("remote_address: {} bytes at offset {} leave the region of {} bytes",
                           put.bytes, put.remote_address - base, found->second.bytes);
  }
  if (put.bytes > 0)
    std::memcpy(reinterpret_cast<void*>(put.remote_address), put.source, put.bytes);
  return absl::OkStatus();
}

}  // namespace baton::transfer
