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
              .breaker = {options_.breaker, options_.seed ^ KeyOf(profile.id.value())}};
    models_since_.try_emplace(profile.model, clock_.Wall());
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
  std::optional<WorkerProfile> stalled;
  {
    absl::MutexLock lock(&mutex_);
    Worker* worker = Find(id, stay);
    if (worker == nullptr) return;
    if (load.stalled && !worker->load.stalled) stalled = worker->profile;
    worker->load = load;
    worker->last_report = now;
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

std::optional<ModelFacts> Roster::Facts(std::string_view model) const {
  const absl::Duration now = clock_.Monotonic();
  absl::MutexLock lock(&mutex_);
  ModelFacts facts;
  for (const auto& [id, worker] : workers_) {
    if (worker.profile.role == WorkerRole::kDecode && worker.profile.model == model) {
      MergeFacts(worker, now, facts);
    }
  }
  if (facts.name.empty()) return std::nullopt;
  return facts;
}

std::vector<ModelFacts> Roster::Models() const {
  const absl::Duration now = clock_.Monotonic();
  absl::MutexLock lock(&mutex_);
  std::map<std::string, ModelFacts> models;
  for (const auto& [id, worker] : workers_) {
    if (worker.profile.role == WorkerRole::kDecode) {
      MergeFacts(worker, now, models[worker.profile.model]);
    }
  }
  std::vector<ModelFacts> list;
  for (auto& [name, facts] : models) list.push_back(std::move(facts));
  return list;
}

PlacementSnapshot Roster::SnapshotFor(std::string_view model, std::span<const kv::BlockHash> prompt,
                                      std::span<const WorkerId> excluded) const {
  PlacementSnapshot snapshot;
  SnapshotFor(model, prompt, excluded, snapshot);
  return snapshot;
}

void Roster::SnapshotFor(std::string_view model, std::span<const kv::BlockHash> prompt,
                         std::span<const WorkerId> excluded, PlacementSnapshot& snapshot) const {
  static thread_local KvMatches matches;  // keeps its memory
  const absl::Duration now = clock_.Monotonic();
  index_.Match(prompt, now, matches);
  absl::MutexLock lock(&mutex_);
  Fill(model, excluded, matches, /*heed_breakers=*/true, snapshot);
  if (snapshot.decode.empty()) Fill(model, excluded, matches, /*heed_breakers=*/false, snapshot);
}

void Roster::Fill(std::string_view model, std::span<const WorkerId> excluded,
                  const KvMatches& matches, bool heed_breakers, PlacementSnapshot& snapshot) const {
  const absl::Duration now = clock_.Monotonic();
  size_t num_decode = 0;
  size_t num_prefill = 0;
  for (const auto& [id, worker] : workers_) {
    if (worker.profile.model != model || !MayTakeWork(worker, now)) continue;
    if (heed_breakers && !worker.breaker.Allows(now)) continue;
    if (std::find(excluded.begin(), excluded.end(), id) != excluded.end()) continue;
    const bool decode = worker.profile.role == WorkerRole::kDecode;
    std::vector<WorkerState>& states = decode ? snapshot.decode : snapshot.prefill;
    const size_t at = decode ? num_decode++ : num_prefill++;
    if (at == states.size()) states.emplace_back();
    FillState(worker, states[at]);
    states[at].cached_blocks = matches.held(worker.seat);
    states[at].expected_blocks = matches.expected(worker.seat);
  }
  snapshot.decode.resize(num_decode);
  snapshot.prefill.resize(num_prefill);
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

// As SnapshotFor(): who has failed is asked only when all have.
Roster::Places Roster::PlacesFor(std::string_view model, int32_t sequences,
                                 int32_t batch_ahead_percent) const {
  const absl::Duration now = clock_.Monotonic();
  Places trusted = Places::kNoWorker;
  Places failed = Places::kNoWorker;
  absl::MutexLock lock(&mutex_);
  for (const auto& [id, worker] : workers_) {
    const WorkerProfile& profile = worker.profile;
    if (profile.role != WorkerRole::kDecode || profile.model != model) continue;
    if (!MayTakeWork(worker, now)) continue;
    Places& places = worker.breaker.Allows(now) ? trusted : failed;
    const bool some = HasPlaces(SequencesMax(profile, batch_ahead_percent),
                                worker.held + worker.others, sequences);
    places = std::max(places, some ? Places::kSome : Places::kNone);
    if (trusted == Places::kSome) break;
  }
  return trusted == Places::kNoWorker ? failed : trusted;
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
  return found != workers_.end() && found->second.breaker.OnSuccess();
}

bool Roster::NoteFailure(const WorkerId& id, int weight) {
  const absl::Duration now = clock_.Monotonic();
  absl::MutexLock lock(&mutex_);
  auto found = workers_.find(id);
  return found != workers_.end() && found->second.breaker.OnFailure(weight, now);
}

std::string Roster::AddressOf(const WorkerId& id) const {
  absl::MutexLock lock(&mutex_);
  auto found = workers_.find(id);
  return found == workers_.end() ? "" : found->second.profile.grpc_address;
}

bool Roster::IsDraining(const WorkerId& id) const {
  absl::MutexLock lock(&mutex_);
  auto found = workers_.find(id);
  return found != workers_.end() && found->second.draining;
}

absl::StatusOr<WorkerId> Roster::Named(std::string_view name) const {
  std::vector<std::string> all, named;
  {
    absl::MutexLock lock(&mutex_);
    for (const auto& [id, worker] : workers_) {
      const std::string& text = id.value();
      if (text == name) return id;
      all.push_back(text);
      if (std::string_view(text).substr(0, text.find('@')) == name) named.push_back(text);
    }
  }
  if (named.size() == 1) return WorkerId(named.front());
  if (named.empty()) {
    return NotFound("no worker is named \"{}\"; attached: {}", name,
                    all.empty() ? "none" : absl::StrJoin(all, ", "));
  }
  return InvalidArgument("\"{}\" names {} workers: {}", name, named.size(),
                         absl::StrJoin(named, ", "));
}

std::optional<WorkerProfile> Roster::ProfileOf(const WorkerId& id) const {
  absl::MutexLock lock(&mutex_);
  auto found = workers_.find(id);
  if (found == workers_.end()) return std::nullopt;
  return found->second.profile;
}

std::vector<Roster::Entry> Roster::List() const {
  const absl::Duration now = clock_.Monotonic();
  absl::MutexLock lock(&mutex_);
  std::vector<Entry> entries;
  for (const auto& [id, worker] : workers_) {
    entries.push_back({.reachable = worker.reachable,
                       .draining = worker.draining,
                       .suspect = Suspect(worker, now),
                       .ejected = worker.breaker.tripped(),
                       .report_age = now - worker.last_report,
                       .indexed_blocks = index_.blocks_of(worker.seat)});
    FillState(worker, entries.back().state);
  }
  return entries;
}

Roster::Worker* Roster::Find(const WorkerId& id, Stay stay) {
  auto found = workers_.find(id);
  return found == workers_.end() || found->second.stay != stay ? nullptr : &found->second;
}

bool Roster::Suspect(const Worker& worker, absl::Duration now) const {
  const absl::Duration patience =
      options_.reports_missed_max * absl::Milliseconds(worker.profile.heartbeat_ms);
  return worker.load.stalled || now - worker.last_report > patience;
}

bool Roster::MayTakeWork(const Worker& worker, absl::Duration now) const {
  if (worker.draining || Suspect(worker, now)) return false;
  return worker.profile.role == WorkerRole::kPrefill || worker.reachable;
}

void Roster::FillState(const Worker& worker, WorkerState& state) {
  if (state.stay != worker.stay) {
    state.profile = worker.profile;
    state.stay = worker.stay;
  }
  state.load = worker.load;
  state.ttft_factor = worker.ttft_factor;
  state.added_sequences = 0;
  state.added_tokens = 0;
  state.added_blocks = 0;
  for (const Placed& placed : worker.placed) {
    state.added_sequences += placed.sequences;
    state.added_tokens += placed.tokens;
    state.added_blocks += placed.blocks;
  }
  state.held_sequences = worker.held;
  state.other_sequences = worker.others;
  state.crowded = false;
}

void Roster::MergeFacts(const Worker& worker, absl::Duration now, ModelFacts& facts) const {
  const WorkerProfile& profile = worker.profile;
  const bool first = facts.name.empty();
  facts.ready = facts.ready || MayTakeWork(worker, now);
  if (!first) {
    facts.context_tokens_max = std::min(facts.context_tokens_max, profile.context_tokens_max);
    facts.vocab_size = std::min(facts.vocab_size, profile.vocab_size);
    return;
  }
  facts.name = profile.model;
  facts.context_tokens_max = profile.context_tokens_max;
  facts.vocab_size = profile.vocab_size;
  facts.eos_token_ids = profile.eos_token_ids;
  facts.block_tokens = profile.block_tokens;
  facts.hash_salt = profile.hash_salt;
  facts.since = models_since_.at(profile.model);
}

}  // namespace baton::router
