#include "services/router/membership/roster.h"

#include <algorithm>
#include <atomic>
#include <cmath>

#include "absl/strings/str_join.h"
#include "common/base/check.h"
#include "services/router/placement/session_key.h"

namespace baton::router {
namespace {

constexpr int32_t kHeartbeatMsDefault = 500;

// A tenth of each miss is believed, so that one late request moves little.
constexpr double kTtftLearning = 0.1;
constexpr double kTtftFactorMin = 0.25;
constexpr double kTtftFactorMax = 4;

Roster::Stay NextStay() {
  static std::atomic<Roster::Stay> last = 0;
  return ++last;
}

absl::Status Validate(const WorkerProfile& profile) {
  if (profile.id.value().empty()) return InvalidArgument("registration: worker_id is empty");
  if (profile.model.empty()) return InvalidArgument("registration: model is empty");
  if (profile.grpc_address.empty()) return InvalidArgument("registration: grpc_address is empty");
  if (profile.block_tokens < 1) {
    return InvalidArgument("registration: block_tokens must be at least 1, got {}",
                           profile.block_tokens);
  }
  if (profile.role == WorkerRole::kDecode && profile.context_tokens_max < 2) {
    return InvalidArgument("registration: context_tokens_max must be at least 2, got {}",
                           profile.context_tokens_max);
  }
  if (profile.role == WorkerRole::kDecode && profile.vocab_size < 1) {
    return InvalidArgument("registration: vocab_size must be at least 1, got {}",
                           profile.vocab_size);
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Roster::Stay> Roster::Join(WorkerProfile profile) {
  RETURN_IF_ERROR(Validate(profile));
  if (profile.heartbeat_ms < 1) profile.heartbeat_ms = kHeartbeatMsDefault;
  std::optional<WorkerProfile> replaced;
  Stay stay = 0;
  {
    absl::MutexLock lock(&mutex_);
    Worker& worker = workers_[profile.id];
    if (worker.stay != 0) replaced = worker.profile;
    stay = NextStay();
    index_.Leave(worker.seat);
    int32_t held = worker.held;
    if (const auto elsewhere = held_elsewhere_.find(profile.id);
        elsewhere != held_elsewhere_.end()) {
      held = elsewhere->second;
      held_elsewhere_.erase(elsewhere);
    }
    worker = {.profile = profile,
              .stay = stay,
              .seat = index_.Join(),
              .last_report = clock_.Monotonic(),
              .held = held,
              .breaker = {options_.breaker, options_.seed ^ KeyOf(profile.id.value())},
              .pace = {profile.role, options_.pace}};
    models_since_.try_emplace(profile.model, clock_.Wall());
    if (profile.role == WorkerRole::kDecode) {
      MergeFacts(worker, clock_.Monotonic(), latest_facts_[profile.model] = {});
      served_at_[profile.model] = clock_.Monotonic();
    }
  }
  if (listener_ != nullptr && replaced) listener_->OnLeft(*replaced);
  if (listener_ != nullptr) listener_->OnJoined(profile);
  return stay;
}

void Roster::Leave(const WorkerId& id, Stay stay) {
  std::optional<WorkerProfile> left;
  {
    absl::MutexLock lock(&mutex_);
    Worker* worker = Find(id, stay);
    if (worker == nullptr) return;
    left = std::move(worker->profile);
    index_.Leave(worker->seat);
    if (worker->held > 0) held_elsewhere_[id] = worker->held;
    workers_.erase(id);
  }
  if (listener_ != nullptr) listener_->OnLeft(*left);
}

void Roster::Report(const WorkerId& id, Stay stay, const WorkerLoad& load) {
  const absl::Duration now = clock_.Monotonic();
  std::optional<WorkerProfile> stalled, slow, fast_again;
  double slow_factor = 0;
  {
    absl::MutexLock lock(&mutex_);
    Worker* worker = Find(id, stay);
    if (worker == nullptr) return;
    if (load.stalled && !worker->load.stalled) stalled = worker->profile;
    switch (worker->pace.OnReport(load.engine, [&] { return FitsOfEquals(*worker); })) {
      case PaceWatch::News::kNone:
        break;
      case PaceWatch::News::kSlow:
        slow_factor = worker->pace.factor();
        if (worker->breaker.OnFailure(options_.breaker.failures_max, now)) slow = worker->profile;
        break;
      case PaceWatch::News::kWellAgain:
        if (worker->breaker.OnSuccess()) fast_again = worker->profile;
        break;
    }
    worker->load = load;
    worker->last_report = now;
    if (worker->profile.role == WorkerRole::kDecode && MayTakeWork(*worker, now)) {
      served_at_[worker->profile.model] = now;
    }
    while (!worker->placed.empty() && worker->placed.front().at + options_.report_lag <= now) {
      worker->placed.pop_front();
    }
    // A report and the news of an end come by different ways: what only one report knows of others
    // may be one of ours that has ended.
    const int32_t others = std::max(0, load.engine.running + load.engine.waiting - worker->held);
    worker->others = std::min(others, worker->others_before);
    worker->others_before = others;
  }
  if (listener_ == nullptr) return;
  if (stalled) listener_->OnStalled(*stalled);
  if (slow) listener_->OnSlow(*slow, slow_factor);
  if (fast_again) listener_->OnFastAgain(*fast_again);
  listener_->OnReported();
}

KvIndex::Outcome Roster::ApplyKvEvents(const WorkerId& id, Stay stay,
                                       const engine::KvEvents& events) {
  KvSeat seat;
  {
    absl::MutexLock lock(&mutex_);
    Worker* worker = Find(id, stay);
    if (worker == nullptr) return KvIndex::Outcome::kIgnored;
    seat = worker->seat;
  }
  return index_.Apply(seat, events);
}

void Roster::Expect(const WorkerId& id, std::span<const kv::BlockHash> prompt) {
  KvSeat seat;
  {
    absl::MutexLock lock(&mutex_);
    auto found = workers_.find(id);
    if (found == workers_.end()) return;
    seat = found->second.seat;
  }
  index_.Expect(seat, prompt, clock_.Monotonic());
}

void Roster::Tidy() {
  constexpr size_t kRecordsPerCall = 1 << 16;  // about a millisecond
  index_.Tidy(kRecordsPerCall);
}

void Roster::Drain(const WorkerId& id, Stay stay) {
  std::optional<WorkerProfile> draining;
  {
    absl::MutexLock lock(&mutex_);
    Worker* worker = Find(id, stay);
    if (worker == nullptr || worker->draining) return;
    worker->draining = true;
    draining = worker->profile;
  }
  if (listener_ != nullptr) listener_->OnDraining(*draining);
}

void Roster::SetReachable(const WorkerId& id, bool reachable) {
  absl::MutexLock lock(&mutex_);
  auto found = workers_.find(id);
  if (found != workers_.end()) found->second.reachable = reachable;
}

void Roster::AddPlaced(const WorkerId& id, const Demand& demand) {
  absl::MutexLock lock(&mutex_);
  auto found = workers_.find(id);
  if (found != workers_.end()) Put(found->second, demand);
}

void Roster::Put(Worker& worker, const Demand& demand) const {
  worker.placed.push_back({.at = clock_.Monotonic(),
                           .sequences = demand.sequences,
                           .tokens = demand.tokens,
                           .blocks = BlocksFor(worker.profile, demand)});
  worker.breaker.OnPlaced(worker.placed.back().at);
}

bool Roster::TryPlace(const WorkerId& id, const Demand& demand,
                      std::optional<int32_t> batch_ahead_percent) {
  absl::MutexLock lock(&mutex_);
  auto found = workers_.find(id);
  if (found == workers_.end()) {  // left a moment ago
    held_elsewhere_[id] += demand.sequences;
    return true;
  }
  Worker& worker = found->second;
  if (batch_ahead_percent && !HasPlaces(SequencesMax(worker.profile, *batch_ahead_percent),
                                        worker.held + worker.others, demand.sequences)) {
    return false;
  }
  Put(worker, demand);
  worker.held += demand.sequences;
  return true;
}

void Roster::Free(const WorkerId& id, int32_t sequences) {
  absl::MutexLock lock(&mutex_);
  if (auto found = workers_.find(id); found != workers_.end()) {
    found->second.held -= sequences;
    CHECK(found->second.held >= 0, "{} holds {} sequences", id.value(), found->second.held);
    return;
  }
  auto found = held_elsewhere_.find(id);
  CHECK(found != held_elsewhere_.end() && found->second >= sequences, "{} holds no {} sequences",
        id.value(), sequences);
  found->second -= sequences;
  if (found->second == 0) held_elsewhere_.erase(found);
}

void Roster::NoteTtft(const WorkerId& id, absl::Duration expected, absl::Duration actual) {
  // Below a millisecond it is the clock and the scheduler that are measured.
  if (expected < absl::Milliseconds(1) || actual <= absl::ZeroDuration()) return;
  const double ratio = absl::FDivDuration(actual, expected);
  absl::MutexLock lock(&mutex_);
  auto found = workers_.find(id);
  if (found == workers_.end()) return;
  double& factor = found->second.ttft_factor;
  factor = std::clamp(factor * std::pow(ratio, kTtftLearning), kTtftFactorMin, kTtftFactorMax);
}

bool Roster::NoteSuccess(const WorkerId& id) {
  absl::MutexLock lock(&mutex_);
  auto found = workers_.find(id);
  // One that is slow proves nothing by an answer.
  if (found == workers_.end() || found->second.pace.slow()) return false;
  return found->second.breaker.OnSuccess();
}

bool Roster::NoteFailure(const WorkerId& id, int weight) {
  const absl::Duration now = clock_.Monotonic();
  absl::MutexLock lock(&mutex_);
  auto found = workers_.find(id);
  return found != workers_.end() && found->second.breaker.OnFailure(weight, now);
}

Roster::Worker* Roster::Find(const WorkerId& id, Stay stay) {
  auto found = workers_.find(id);
  return found == workers_.end() || found->second.stay != stay ? nullptr : &found->second;
}

}  // namespace baton::router
