#include "common/handover/receiver.h"

#include <algorithm>
#include <utility>

#include "common/base/check.h"
#include "common/rpc/convert.h"
#include "common/telemetry/logging.h"

// One hand-over, keyed by the engine's epoch:
//
//   OnPrefillNeeded -> asking target 0 -> Finished, verified ------------------> KvArrived
//                        |  Finished, wrong bytes: asking target 0 again, once
//                        |  ended, fenced -> asking target 1 … none left ------> KvFailed{fenced}
//                        |  Leave(): Cancel() to the attempt, as ended, fenced
//                        |  silent for longer than its lease: ended, not fenced
//                        |  ended, not fenced ---------------------------------> KvFailed, then
//                        |                          Fencer: dead or answered --> KvFenced
//   OnSequenceEnded: Cancel() to the attempt; the end is the same, as KvFailed{fenced} or KvFenced.
namespace baton::handover {

Receiver::Receiver(ReceiverOptions options, const kernels::KvShares& pool,
                   transfer::Transport& transport, PrefillPeers& peers, Post post,
                   const Clock& clock)
    : options_(std::move(options)),
      pool_(pool),
      checksummer_(pool),
      transport_(transport),
      peers_(peers),
      post_(std::move(post)),
      clock_(clock),
      fencer_(options_.caller, transport, peers,
              [this](uint64_t epoch) { post_(engine::KvFenced{epoch}); }) {}

Receiver::~Receiver() { Stop(); }

void Receiver::Stop() {
  std::vector<std::shared_ptr<Attempt>> attempts;
  {
    absl::MutexLock lock(&mutex_);
    for (auto& [epoch, pending] : pending_) {
      pending.ended = true;
      if (pending.attempt) attempts.push_back(pending.attempt);
    }
  }
  for (const auto& attempt : attempts) attempt->Abort();
  const auto none_left = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return pending_.empty() && callbacks_ == 0;
  };
  {
    absl::MutexLock lock(&mutex_);
    mutex_.Await(absl::Condition(&none_left));
  }
  fencer_.Stop();
}

void Receiver::SetTargets(const RequestId& request, std::vector<v1::PrefillTarget> targets) {
  absl::MutexLock lock(&mutex_);
  targets_[request] = std::move(targets);
}

void Receiver::ForgetRequest(const RequestId& request) {
  absl::MutexLock lock(&mutex_);
  targets_.erase(request);
}

void Receiver::OnPrefillNeeded(engine::PrefillNeeded needed) {
  const uint64_t epoch = needed.epoch;
  {
    absl::MutexLock lock(&mutex_);
    Pending pending;
    auto targets = targets_.find(needed.spec.id.request);
    if (targets != targets_.end()) pending.targets = targets->second;
    pending.needed = std::move(needed);
    pending.began = clock_.Monotonic();
    pending_.emplace(epoch, std::move(pending));
  }
  StartNext(epoch);
}

void Receiver::StartNext(uint64_t epoch) {
  std::shared_ptr<Attempt> attempt;
  v1::PrefillRequest request;
  {
    absl::MutexLock lock(&mutex_);
    Pending& pending = pending_.at(epoch);
    if (!pending.ended && pending.next_target < pending.targets.size()) {
      const v1::PrefillTarget& target = pending.targets[pending.next_target++];
      pending.wire_epoch = ++last_wire_epoch_;
      request = RequestFor(pending, pending.wire_epoch);
      request.set_worker_id(target.worker_id());
      pending.asked = pending.heard = clock_.Monotonic();
      pending.silent = pending.aborted = false;
      pending.left.reset();
      attempt = peers_.Open(target, {.epoch = epoch, .wire_epoch = pending.wire_epoch}, *this);
      pending.attempt = attempt;
    }
  }
  if (attempt == nullptr) return GiveUp(epoch, Unavailable("no prefill worker delivered"), true);
  attempt->Start(std::move(request), options_.attempt_timeout);
}

v1::PrefillRequest Receiver::RequestFor(const Pending& pending, uint64_t wire_epoch) const {
  v1::PrefillRequest request;
  *request.mutable_sequence() = rpc::ToProto(pending.needed.spec);
  request.set_epoch(wire_epoch);
  request.set_caller(options_.caller);
  request.set_fingerprint(options_.fingerprint);
  *request.mutable_destination() = options_.region;
  request.set_lease_ms(static_cast<int32_t>(absl::ToInt64Milliseconds(options_.lease)));
  request.set_first_block(pending.needed.first_block);
  for (BlockId block : pending.needed.blocks) request.add_blocks(block.value());
  return request;
}

void Receiver::OnSequenceEnded(const SequenceId& id) {
  absl::MutexLock lock(&mutex_);
  deliveries_.erase(id);
  failures_.erase(id);
  for (auto& [epoch, pending] : pending_) {
    if (pending.needed.spec.id != id) continue;
    pending.ended = true;
    if (pending.attempt) pending.attempt->Cancel();
  }
}

void Receiver::Leave(const std::string& prefill_worker, const std::string& why) {
  const auto is_it = [&](const v1::PrefillTarget& target) {
    return target.worker_id() == prefill_worker;
  };
  absl::MutexLock lock(&mutex_);
  for (auto& [request, targets] : targets_) std::erase_if(targets, is_it);
  for (auto& [epoch, pending] : pending_) {
    const auto next = pending.targets.begin() + static_cast<ptrdiff_t>(pending.next_target);
    pending.targets.erase(std::remove_if(next, pending.targets.end(), is_it),
                          pending.targets.end());
    if (!pending.attempt || pending.finished || pending.left) continue;
    if (!is_it(pending.targets[pending.next_target - 1])) continue;
    pending.left = absl::CancelledError(why);
    pending.left_at = clock_.Monotonic();
    pending.attempt->Cancel();
  }
}

absl::Status Receiver::Verify(const engine::PrefillNeeded& needed,
                              const v1::PrefillFinished& finished) const {
  if (!options_.checksums) return absl::OkStatus();
  if (finished.checksums_size() != static_cast<int>(needed.blocks.size())) {
    return FailedPrecondition("{} checksums for {} blocks", finished.checksums_size(),
                              needed.blocks.size());
  }
  for (size_t i = 0; i < needed.blocks.size(); ++i) {
    const v1::BlockChecksums& sums = finished.checksums(static_cast<int>(i));
    for (int32_t layer = 0; layer < pool_.num_layers(); ++layer) {
      if (layer >= sums.layers_size() || !IsAsSent(needed.blocks[i], layer, sums.layers(layer))) {
        return absl::DataLossError(
            fmt::format("checksum of block {} layer {} differs", needed.blocks[i].value(), layer));
      }
    }
  }
  return absl::OkStatus();
}

// Every copy of a head has been written on its own.
bool Receiver::IsAsSent(BlockId block, int32_t layer, uint64_t checksum) const {
  for (int32_t copy = 0; copy < pool_.num_copies(); ++copy) {
    if (checksummer_.Of(layer, block.value(), copy) != checksum) return false;
  }
  return true;
}

void Receiver::OnAttemptEvent(const AttemptId& id, v1::PrefillEvent event) {
  absl::MutexLock lock(&mutex_);
  Pending& pending = pending_.at(id.epoch);  // until its attempt is over
  pending.heard = clock_.Monotonic();
  ++counters_.events;
  if (!event.has_finished()) return;
  pending.finished = std::make_unique<v1::PrefillFinished>(std::move(*event.mutable_finished()));
}

void Receiver::Tick(absl::Duration now) {
  std::vector<std::shared_ptr<Attempt>> late;
  {
    absl::MutexLock lock(&mutex_);
    for (auto& [epoch, pending] : pending_) {
      if (!pending.attempt || pending.aborted) continue;
      pending.silent = now - pending.heard > options_.lease;
      pending.aborted = pending.silent || (pending.left && now - pending.left_at > options_.lease);
      if (pending.aborted) late.push_back(pending.attempt);
    }
  }
  for (const auto& attempt : late) attempt->Abort();
  fencer_.Tick(now);
}

void Receiver::OnAttemptOver(const AttemptId& id, absl::Status status, bool fenced) {
  {
    absl::MutexLock lock(&mutex_);
    ++callbacks_;
  }
  Settle(id, std::move(status), fenced);
  absl::MutexLock lock(&mutex_);
  --callbacks_;
}

void Receiver::Settle(const AttemptId& id, absl::Status status, bool fenced) {
  const absl::Duration told_at = clock_.Monotonic();
  v1::PrefillTarget target;
  const engine::PrefillNeeded* needed = nullptr;
  std::unique_ptr<v1::PrefillFinished> finished;
  bool ended = false;
  bool silent = false;
  std::optional<absl::Status> left;
  {
    absl::MutexLock lock(&mutex_);
    Pending& pending = pending_.at(id.epoch);  // nobody else erases it
    CHECK(pending.wire_epoch == id.wire_epoch, "attempt {} ended, but {} is under way",
          id.wire_epoch, pending.wire_epoch);
    target = pending.targets[pending.next_target - 1];
    pending.attempt = nullptr;
    finished = std::move(pending.finished);
    ended = pending.ended;
    silent = pending.silent;
    left = pending.left;
    needed = &pending.needed;
  }
  if (status.ok() && finished == nullptr) status = Internal("the call ended without a result");
  if (status.ok() && !ended) status = Verify(*needed, *finished);
  if (status.ok()) return Deliver(id.epoch, told_at, std::move(*finished));

  if (left) {
    status = *left;
  } else if (silent) {
    status = Unavailable("it said nothing for longer than the lease of {}",
                         absl::FormatDuration(options_.lease));
  }
  // A connection that breaks says nothing about writes; a process that is gone cannot write.
  if (!fenced) {
    fenced = transport_.Probe(FromProto(target.transfer())) == transfer::PeerState::kGone;
  }
  if (!ended) {
    telemetry::LogWarning("handover", "hand-over failed",
                          {{"request", needed->spec.id.request.value()},
                           {"prefill_worker", target.worker_id()},
                           {"reason", MessageOf(status)},
                           {"fenced", fenced}},
                          needed->spec.traceparent);
  }
  {
    absl::MutexLock lock(&mutex_);
    if (!ended) {
      ++counters_.failed;
      failures_[needed->spec.id].push_back({target.worker_id(), status});
    }
    if (absl::IsDataLoss(status)) {
      ++counters_.checksum_mismatches;
      Pending& pending = pending_.at(id.epoch);
      if (!std::exchange(pending.refetched, true)) --pending.next_target;
    }
  }
  if (fenced && !ended) return StartNext(id.epoch);
  GiveUp(id.epoch, status, fenced);
  if (!fenced) fencer_.Watch({.epoch = id.epoch, .wire_epoch = id.wire_epoch, .target = target});
}

void Receiver::Deliver(uint64_t epoch, absl::Duration told_at, v1::PrefillFinished finished) {
  engine::KvArrived arrived{.epoch = epoch, .first = rpc::FromProto(finished.first())};
  {
    absl::MutexLock lock(&mutex_);
    auto found = pending_.find(epoch);
    Pending& pending = found->second;
    arrived.id = pending.needed.spec.id;
    ++counters_.completed;
    counters_.bytes += finished.bytes();
    if (!pending.ended) {
      deliveries_[arrived.id] = DeliveryFrom(pending, told_at, std::move(finished));
    }
    counters_.seconds += absl::ToDoubleSeconds(clock_.Monotonic() - pending.began);
    pending_.erase(found);
  }
  post_(std::move(arrived));
}

Delivery Receiver::DeliveryFrom(const Pending& pending, absl::Duration told_at,
                                v1::PrefillFinished finished) const {
  Delivery delivery{.prefill_worker = pending.targets[pending.next_target - 1].worker_id(),
                    .bytes = finished.bytes(),
                    .exposed = absl::Milliseconds(finished.exposed_ms())};
  v1::HandoverTimes& times = delivery.times;
  times.set_asked_ms(absl::ToDoubleMilliseconds(pending.asked - pending.began));
  times.set_took_ms(absl::ToDoubleMilliseconds(told_at - pending.asked));
  times.set_verify_ms(absl::ToDoubleMilliseconds(clock_.Monotonic() - told_at));
  finished.clear_first();
  finished.clear_checksums();
  *times.mutable_told() = std::move(finished);
  return delivery;
}

void Receiver::GiveUp(uint64_t epoch, absl::Status why, bool fenced) {
  engine::KvFailed failed{.epoch = epoch, .reason = std::move(why), .fenced = fenced};
  {
    absl::MutexLock lock(&mutex_);
    auto found = pending_.find(epoch);
    failed.id = found->second.needed.spec.id;
    counters_.seconds += absl::ToDoubleSeconds(clock_.Monotonic() - found->second.began);
    pending_.erase(found);
  }
  post_(std::move(failed));
}

std::vector<Receiver::Failure> Receiver::TakeFailures(const SequenceId& id) {
  absl::MutexLock lock(&mutex_);
  auto taken = failures_.extract(id);
  return taken.empty() ? std::vector<Failure>() : std::move(taken.mapped());
}

Delivery Receiver::DeliveryOf(const SequenceId& id) const {
  absl::MutexLock lock(&mutex_);
  auto found = deliveries_.find(id);
  return found == deliveries_.end() ? Delivery{} : found->second;
}

Receiver::Counters Receiver::counters() const {
  absl::MutexLock lock(&mutex_);
  return counters_;
}

int32_t Receiver::active() const {
  absl::MutexLock lock(&mutex_);
  return static_cast<int32_t>(pending_.size());
}

}  // namespace baton::handover
