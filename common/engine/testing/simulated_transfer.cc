#include "common/engine/testing/simulated_transfer.h"

#include <cstring>
#include <utility>

#include "common/base/check.h"

namespace baton::engine::testing {

SimulatedTransfer::SimulatedTransfer(SimulatedWorker& prefill, SimulatedWorker& decode,
                                     uint64_t seed, int failures_percent)
    : prefill_(prefill), decode_(decode), random_(seed), failures_percent_(failures_percent) {}

bool SimulatedTransfer::Advance() {
  TakeNews();
  if (attempts_.empty()) return false;
  auto chosen = attempts_.begin();
  std::advance(chosen, std::uniform_int_distribution<size_t>(0, attempts_.size() - 1)(random_));
  MoveOn(chosen->first, chosen->second);
  return true;
}

void SimulatedTransfer::TakeNews() {
  for (PrefillNeeded& needed : decode_.observer().TakePrefillNeeded()) Begin(std::move(needed));
  for (const KvReady& ready : prefill_.observer().TakeKvReady()) TakeReady(ready);
  for (PrefillDone& done : prefill_.observer().TakePrefillDone()) {
    const auto found = attempts_.find(done.epoch);
    CHECK(found != attempts_.end(), "prefill of unknown epoch {} is done", done.epoch);
    CHECK(!found->second.computed, "epoch {} is done twice", done.epoch);
    found->second.computed = true;
    found->second.compute_status = done.status;
    found->second.first = std::move(done.first);
  }
}

void SimulatedTransfer::Begin(PrefillNeeded needed) {
  const uint64_t epoch = needed.epoch;
  CHECK(epoch > last_epoch_, "epoch {} after {}", epoch, last_epoch_);
  last_epoch_ = epoch;
  Attempt attempt;
  attempt.doomed = Chance(failures_percent_);
  attempt.needed = std::move(needed);
  const SubmitPrefill submit{attempt.needed.spec, epoch, attempt.needed.first_block};
  if (Chance(failures_percent_ / 4) || !prefill_.Post(submit).ok()) {
    ++attempts_failed_;
    CHECK_OK(decode_.Post(KvFailed{attempt.needed.spec.id, epoch, absl::UnavailableError("refused"),
                                   /*fenced=*/true}));
    return;
  }
  attempts_.emplace(epoch, std::move(attempt));
}

void SimulatedTransfer::TakeReady(const KvReady& ready) {
  Attempt& attempt = attempts_.at(ready.epoch);
  CHECK(!attempt.computed, "KV of epoch {} after its end", ready.epoch);
  for (size_t i = 0; i < ready.blocks.size(); ++i) {
    const size_t index = ready.first_block + i - attempt.needed.first_block;
    attempt.under_way.push_back({ready.layer, ready.blocks[i], attempt.needed.blocks.at(index)});
  }
}

void SimulatedTransfer::MoveOn(uint64_t epoch, Attempt& attempt) {
  if (attempt.doomed && !attempt.given_up && Chance(10)) return GiveUp(epoch, attempt);
  if (Chance(2)) {  // somebody's message from another life
    CHECK_OK(decode_.Post(KvArrived{attempt.needed.spec.id, epoch + 1'000'000'000, {}}));
  }
  if (!attempt.under_way.empty()) return Land(attempt);
  if (attempt.computed) Settle(epoch, attempt);
}

void SimulatedTransfer::Land(Attempt& attempt) {
  const int count = std::uniform_int_distribution<int>(1, 6)(random_);
  for (int i = 0; i < count && !attempt.under_way.empty(); ++i) {
    const size_t at =
        std::uniform_int_distribution<size_t>(0, attempt.under_way.size() - 1)(random_);
    const Piece piece = attempt.under_way[at];
    attempt.under_way[at] = attempt.under_way.back();
    attempt.under_way.pop_back();
    std::memcpy(decode_.kv().piece(piece.layer, piece.destination.value()),
                prefill_.kv().piece(piece.layer, piece.source.value()),
                decode_.kv().block_layer_bytes());
    ++pieces_landed_;
  }
}

// The decode side loses patience; the prefill side hears of it some time, and what it sends still
// lands.
void SimulatedTransfer::GiveUp(uint64_t epoch, Attempt& attempt) {
  attempt.given_up = true;
  ++attempts_failed_;
  CHECK_OK(decode_.Post(
      KvFailed{attempt.needed.spec.id, epoch, absl::UnavailableError("lost"), /*fenced=*/false}));
  if (Chance(50)) CHECK_OK(prefill_.Post(Cancel{attempt.needed.spec.id}));
}

void SimulatedTransfer::Settle(uint64_t epoch, Attempt& attempt) {
  const SequenceId id = attempt.needed.spec.id;
  CHECK_OK(prefill_.Post(KvSent{id, epoch}));
  if (attempt.given_up) {
    if (Chance(50)) {
      CHECK_OK(decode_.Post(KvFenced{epoch}));
    } else {
      CHECK_OK(decode_.Post(KvFailed{id, epoch, absl::UnavailableError("late"), true}));
    }
  } else if (!attempt.compute_status.ok()) {
    CHECK_OK(decode_.Post(KvFailed{id, epoch, attempt.compute_status, /*fenced=*/true}));
  } else {
    CHECK_OK(decode_.Post(KvArrived{id, epoch, attempt.first}));
    if (Chance(10)) CHECK_OK(decode_.Post(KvArrived{id, epoch, attempt.first}));
    if (Chance(10)) CHECK_OK(decode_.Post(KvFenced{epoch}));
  }
  attempts_.erase(epoch);
}

}  // namespace baton::engine::testing
