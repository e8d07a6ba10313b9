#include "common/handover/sender.h"

#include "common/base/check.h"

// A hand-over ends when both are true, in either order:
//
//   engine:    SubmitPrefill -> OnKvReady* -> OnPrefillDone        (computed)
//   transfer:  PutAll -> done, once per OnKvReady                  (puts_under_way == 0)
//
// Stop() and a failed put only mark the failure and cancel the computation; the end is the same.
namespace baton::handover {

Sender::Sender(bool checksums, const kernels::KvShares& pool, transfer::Transport& transport,
               Post post, const Clock& clock)
    : checksums_(checksums),
      pool_(pool),
      checksummer_(pool),
      transport_(transport),
      post_(std::move(post)),
      clock_(clock) {}

absl::Status Sender::Begin(SequenceId id, uint64_t epoch, Destination destination, Done done) {
  ASSIGN_OR_RETURN(const transfer::PeerHandle peer, transport_.Connect(destination.peer));
  auto handover = std::make_unique<Handover>();
  handover->id = std::move(id);
  handover->peer = peer;
  handover->done = std::move(done);
  handover->begun_at = clock_.Monotonic();
  if (checksums_) {
    handover->result.checksums.assign(destination.blocks.size(),
                                      std::vector<uint64_t>(pool_.num_layers()));
  }
  handover->destination = std::move(destination);
  absl::MutexLock lock(&mutex_);
  const bool fresh = handovers_.emplace(epoch, std::move(handover)).second;
  CHECK(fresh, "epoch {} begun twice", epoch);
  return absl::OkStatus();
}

void Sender::Abandon(uint64_t epoch) {
  absl::MutexLock lock(&mutex_);
  handovers_.erase(epoch);
}

void Sender::Stop(uint64_t epoch, absl::Status why) {
  std::optional<SequenceId> id;
  {
    absl::MutexLock lock(&mutex_);
    auto found = handovers_.find(epoch);
    if (found == handovers_.end()) return;
    if (found->second->failure.ok()) found->second->failure = std::move(why);
    id = found->second->id;
  }
  post_(engine::Cancel{*id});
}

void Sender::OnKvReady(const engine::KvReady& ready) {
  transfer::PeerHandle peer = 0;
  std::string remote_key;
  std::vector<transfer::Put> puts;
  {
    absl::MutexLock lock(&mutex_);
    auto found = handovers_.find(ready.epoch);
    if (found == handovers_.end() || !found->second->failure.ok()) return;
    Handover& handover = *found->second;
    puts = PiecesOf(handover, ready);
    if (puts.empty()) return;
    NotePut(handover);
    peer = handover.peer;
    remote_key = handover.destination.remote_key;
  }
  transport_.PutAll(
      peer, std::move(remote_key), std::move(puts),
      [this, epoch = ready.epoch](absl::Status status) { OnPutDone(epoch, std::move(status)); });
}

// Runs on the engine thread, where the bytes are still warm in its cache.
std::vector<transfer::Put> Sender::PiecesOf(Handover& handover,
                                            const engine::KvReady& ready) const {
  const Destination& to = handover.destination;
  std::vector<transfer::Put> puts;
  puts.reserve(ready.blocks.size() * to.pieces.size());
  for (size_t i = 0; i < ready.blocks.size(); ++i) {
    const int32_t index = ready.first_block + static_cast<int32_t>(i);
    if (index < to.first_block) continue;  // the destination has it already
    const size_t sent = static_cast<size_t>(index - to.first_block);
    CHECK(sent < to.blocks.size(), "block {} of a prompt of {}", index,
          to.first_block + to.blocks.size());
    const int32_t block = ready.blocks[i].value();
    if (checksums_) {
      handover.result.checksums[sent][ready.layer] = checksummer_.Of(ready.layer, block);
    }
    for (const KvPiece& piece : to.pieces) {
      const std::byte* share = pool_.rank(piece.from_rank).piece(ready.layer, block);
      puts.push_back({share + piece.from_offset, piece.bytes,
                      to.AddressOf(piece.to_rank, ready.layer, index) + piece.to_offset});
      handover.result.bytes += piece.bytes;
    }
  }
  return puts;
}

void Sender::NotePut(Handover& handover) const {
  if (handover.puts_under_way++ == 0) handover.busy_since = clock_.Monotonic();
  if (handover.result.puts++ == 0) {
    handover.result.first_put = handover.busy_since - handover.begun_at;
  }
}

void Sender::NotePutDone(Handover& handover) const {
  if (--handover.puts_under_way > 0) return;
  const absl::Duration now = clock_.Monotonic();
  handover.result.wire += now - handover.busy_since;
  handover.result.last_put = now - handover.begun_at;
}

void Sender::OnPutDone(uint64_t epoch, absl::Status status) {
  std::optional<SequenceId> cancelled;
  {
    absl::MutexLock lock(&mutex_);
    auto found = handovers_.find(epoch);
    CHECK(found != handovers_.end(), "epoch {} ended with a put under way", epoch);
    Handover& handover = *found->second;
    NotePutDone(handover);
    if (!status.ok() && handover.failure.ok()) {
      handover.failure = Annotate(status, "KV put failed");
      if (!handover.computed) cancelled = handover.id;
    }
  }
  if (cancelled) post_(engine::Cancel{*cancelled});
  FinishIfOver(epoch);
}

void Sender::OnPrefillDone(engine::PrefillDone done) {
  {
    absl::MutexLock lock(&mutex_);
    auto found = handovers_.find(done.epoch);
    if (found == handovers_.end()) return;
    Handover& handover = *found->second;
    handover.computed = true;
    handover.computed_at = clock_.Monotonic();
    if (!done.status.ok() && handover.failure.ok()) handover.failure = done.status;
    handover.result.first = std::move(done.first);
    handover.result.times = done.times;
    handover.result.compute = done.times.prefill;
  }
  FinishIfOver(done.epoch);
}

void Sender::FinishIfOver(uint64_t epoch) {
  std::unique_ptr<Handover> over;
  {
    absl::MutexLock lock(&mutex_);
    auto found = handovers_.find(epoch);
    if (found == handovers_.end()) return;
    if (!found->second->computed || found->second->puts_under_way > 0) return;
    over = std::move(found->second);
    handovers_.erase(found);
    ++(over->failure.ok() ? counters_.completed : counters_.failed);
  }
  post_(engine::KvSent{over->id, epoch});
  over->result.exposed = clock_.Monotonic() - over->computed_at;
  if (over->failure.ok()) {
    over->done(std::move(over->result));
  } else {
    over->done(over->failure);
  }
}

Sender::Counters Sender::counters() const {
  absl::MutexLock lock(&mutex_);
  return counters_;
}

int32_t Sender::active() const {
  absl::MutexLock lock(&mutex_);
  return static_cast<int32_t>(handovers_.size());
}

}  // namespace baton::handover
