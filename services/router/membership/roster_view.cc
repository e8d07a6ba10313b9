// What others see of the roster: facts, snapshots, lists.
#include <algorithm>

#include "absl/strings/str_join.h"
#include "services/router/membership/roster.h"

namespace baton::router {

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

std::optional<ModelFacts> Roster::LatestFacts(std::string_view model) const {
  if (auto facts = Facts(model)) return facts;
  absl::MutexLock lock(&mutex_);
  const auto found = latest_facts_.find(model);
  if (found == latest_facts_.end()) return std::nullopt;
  return found->second;
}

absl::Duration Roster::UnservedFor(std::string_view model) const {
  const absl::Duration now = clock_.Monotonic();
  absl::MutexLock lock(&mutex_);
  for (const auto& [id, worker] : workers_) {
    if (worker.profile.role == WorkerRole::kDecode && worker.profile.model == model &&
        MayTakeWork(worker, now)) {
      return absl::ZeroDuration();
    }
  }
  const auto found = served_at_.find(model);
  return found == served_at_.end() ? absl::InfiniteDuration() : now - found->second;
}

bool Roster::has_served() const {
  absl::MutexLock lock(&mutex_);
  return !latest_facts_.empty();
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

std::vector<engine::StepFit> Roster::FitsOfEquals(const Worker& worker) const {
  std::vector<engine::StepFit> fits;
  for (const auto& [id, other] : workers_) {
    if (&other == &worker || other.breaker.tripped()) continue;
    if (other.profile.role != worker.profile.role || other.profile.model != worker.profile.model ||
        other.profile.token_fingerprint != worker.profile.token_fingerprint) {
      continue;
    }
    fits.push_back(other.load.engine.fit);
  }
  return fits;
}

Roster::Ailing Roster::FindAiling() const {
  const absl::Duration now = clock_.Monotonic();
  absl::MutexLock lock(&mutex_);
  Ailing ailing;
  for (const auto& [id, worker] : workers_) {
    if (worker.profile.role != WorkerRole::kDecode) continue;
    const bool silent = Missed(worker, options_.reports_missed_to_leave, now);
    const bool slow = worker.pace.slow() && worker.breaker.tripped() && !worker.breaker.on_trial();
    if ((silent || slow) && AnotherIsWell(worker.profile.model, now)) {
      (silent ? ailing.silent : ailing.slow).push_back(id);
    }
  }
  return ailing;
}

bool Roster::AnotherIsWell(std::string_view model, absl::Duration now) const {
  return std::any_of(workers_.begin(), workers_.end(), [&](const auto& entry) {
    const Worker& worker = entry.second;
    return worker.profile.role == WorkerRole::kDecode && worker.profile.model == model &&
           MayTakeWork(worker, now) && !worker.breaker.tripped();
  });
}

bool Roster::Missed(const Worker& worker, int reports, absl::Duration now) {
  return now - worker.last_report > reports * absl::Milliseconds(worker.profile.heartbeat_ms);
}

bool Roster::Suspect(const Worker& worker, absl::Duration now) const {
  return worker.load.stalled || Missed(worker, options_.reports_missed_max, now);
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
