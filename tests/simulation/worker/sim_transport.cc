#include "tests/simulation/worker/sim_transport.h"

#include <utility>

#include "common/base/check.h"
#include "fmt/format.h"

namespace baton::simulation {
namespace {

constexpr uint64_t kBase = 4096;  // of every region, as peers name it

}  // namespace

SimTransport::SimTransport(MemoryBus& bus, std::shared_ptr<Process> process)
    : bus_(bus), process_(std::move(process)), process_id_(bus.Enlist(process_)) {}

absl::StatusOr<transfer::Region> SimTransport::AllocateRegion(size_t bytes) {
  memory_.resize(bytes);
  // Noise: nothing is right by being zero.
  for (size_t i = 0; i < bytes; ++i) memory_[i] = static_cast<std::byte>(i * 131 + 7);
  const std::string key = fmt::format("region-{}", process_id_);
  bus_.Share(key, process_id_, memory_.data(), bytes);
  return transfer::Region{
      .data = memory_.data(), .bytes = bytes, .remote_key = key, .address = kBase};
}

transfer::PeerAddress SimTransport::local_address() const {
  return {.transport = "simulated",
          .worker = process_->name(),
          .host_id = "host",
          .process_id = process_id_,
          .process_start = static_cast<uint64_t>(process_->life())};
}

absl::StatusOr<transfer::PeerHandle> SimTransport::Connect(const transfer::PeerAddress& peer) {
  return peers_.try_emplace(peer.process_id, peers_.size() + 1).first->second;
}

void SimTransport::PutAll(transfer::PeerHandle peer, std::string remote_key,
                          std::vector<transfer::Put> puts, std::function<void(absl::Status)> done) {
  std::deque<Job>& jobs = jobs_[peer];
  jobs.push_back({std::move(remote_key), std::move(puts), std::move(done)});
  if (jobs.size() == 1) GoOn(peer);
}

// A few pieces per event.
void SimTransport::GoOn(transfer::PeerHandle peer) {
  EventQueue& queue = process_->queue();
  const absl::Duration pause =
      slowness_ * (queue.Chance(3) ? queue.Between(absl::Milliseconds(5), absl::Milliseconds(60))
                                   : queue.Between(absl::Microseconds(20), absl::Milliseconds(1)));
  process_->After(pause, "put", [this, peer] {
    Job& job = jobs_[peer].front();
    absl::Status status;
    for (int i = process_->queue().Uniform(1, 4); i > 0 && job.landed < job.puts.size(); --i) {
      status = Land(job, job.puts[job.landed++]);
      if (!status.ok()) break;
    }
    if (status.ok() && job.landed < job.puts.size()) return GoOn(peer);
    const auto done = std::move(job.done);
    ++(status.ok() ? counters_.puts : counters_.puts_failed);
    jobs_[peer].pop_front();
    if (!jobs_[peer].empty()) GoOn(peer);
    done(status);
  });
}

absl::Status SimTransport::Land(const Job& job, const transfer::Put& put) {
  counters_.bytes_put += put.bytes;
  const uint64_t offset = put.remote_address - kBase;
  if (!process_->queue().Chance(corrupt_percent_)) {
    return bus_.Write(process_id_, job.remote_key, offset, put.source, put.bytes);
  }
  std::vector<std::byte> wrong(put.source, put.source + put.bytes);
  wrong[process_->queue().Uniform(0, static_cast<int>(put.bytes) - 1)] ^= std::byte{1};
  return bus_.Write(process_id_, job.remote_key, offset, wrong.data(), wrong.size());
}

transfer::PeerState SimTransport::Probe(const transfer::PeerAddress& peer) const {
  return bus_.Alive(peer.process_id) ? transfer::PeerState::kAlive : transfer::PeerState::kGone;
}

}  // namespace baton::simulation
