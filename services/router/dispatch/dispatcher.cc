#include "services/router/dispatch/dispatcher.h"

#include <algorithm>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "common/base/check.h"
#include "common/kv/block_hash.h"
#include "common/rpc/convert.h"
#include "common/telemetry/logging.h"
#include "services/router/dispatch/continuation.h"
#include "services/router/intake/field_error.h"
#include "services/router/placement/session_key.h"

namespace baton::router {
namespace {

// A worker that hands over wrong bytes is out at once.
constexpr int kWrongBytesWeight = 3;

// Why a request is prefilled where it is decoded, whatever the policy: in the words of reason::k….
constexpr std::string_view kPromptLogprobs = "prompt_logprobs";
constexpr std::string_view kNothingToGenerate = "nothing_to_generate";

// Longer than the time from one look at a draining worker to the next.
constexpr absl::Duration kMigrationHold = absl::Milliseconds(100);

// Leaves those that can go on with tokens of such a worker: others would say something else.
void KeepEquals(std::string_view fingerprint, std::vector<WorkerState>& workers) {
  if (fingerprint.empty()) return;
  std::erase_if(workers, [&](const WorkerState& worker) {
    return worker.profile.fingerprint != fingerprint;
  });
}

// Marks those that it could not begin on soon; are there others?
bool MarkCrowded(const std::vector<SequenceSpec>& sequences, int batch_ahead_percent,
                 std::vector<WorkerState>& workers) {
  const auto num_sequences = static_cast<int32_t>(sequences.size());
  const auto prompt_tokens = static_cast<int64_t>(sequences.front().prompt.size());
  bool any = false;
  for (WorkerState& worker : workers) {
    const Demand demand{.sequences = num_sequences,
                        .tokens_missing = prompt_tokens - worker.held_tokens()};
    worker.crowded = !HasRoom(worker, demand, batch_ahead_percent);
    any = any || !worker.crowded;
  }
  return any;
}

// Empty: the policy is free to choose.
std::string_view WhyLocal(const SamplingParams& sampling) {
  if (sampling.prompt_logprobs) return kPromptLogprobs;
  return sampling.max_tokens == 0 ? kNothingToGenerate : "";
}

}  // namespace

Dispatcher::Dispatcher(const Options& options, PolicyTable& policies, Roster& roster,
                       RouterMetrics& metrics, DecodeLinkOpener open_link, const Clock& clock)
    : options_(options),
      policies_(policies),
      roster_(roster),
      metrics_(metrics),
      open_link_(std::move(open_link)),
      clock_(clock),
      decisions_(static_cast<size_t>(options.decisions_kept)),
      requests_(static_cast<size_t>(options.decisions_kept)),
      waiting_(options.queue, metrics.registry(), clock) {
  roster_.set_listener(this);
}

Dispatcher::~Dispatcher() {
  absl::MutexLock lock(&mutex_);
  CHECK(links_alive_ == 0, "{} links outlive the dispatcher", links_alive_);
}

absl::Status Dispatcher::CheckRoom(std::string_view tenant, int32_t priority) const {
  if (draining_) {
    return WithRetryAfter(Unavailable("the router is shutting down; try again"),
                          options_.retry_after);
  }
  if (inflight() < options_.inflight_requests_max) return waiting_.Check(tenant, priority);
  return WithRetryAfter(
      WithErrorCode(
          ResourceExhausted("{} requests are in flight, the limit; try again", inflight()),
          "overloaded"),
      options_.retry_after);
}

std::shared_ptr<Flight> Dispatcher::Start(AcceptedRequest request,
                                          std::shared_ptr<EventSink> sink) {
  request.tenant = waiting_.TenantNamed(request.tenant);
  auto flight =
      std::make_shared<Flight>(std::move(request), std::move(sink), *this, metrics_, clock_);
  bool closing = false;
  {
    absl::MutexLock lock(&mutex_);
    closing = closing_;
    flights_[flight->request().id.value()] = flight;
    metrics_.Inflight(++inflight_);
  }
  if (closing) {
    flight->Fail(Unavailable("the router is shutting down; try again"));
  } else {
    Admit(flight);
  }
  return flight;
}

// ---- waiting -----------------------------------------------------------------------------------

void Dispatcher::Admit(const std::shared_ptr<Flight>& flight) {
  const AcceptedRequest& request = flight->request();
  const bool hopeless = !waiting_.empty() && roster_.PlacesFor(request.model->name(), request.n,
                                                               options_.batch_ahead_percent) ==
                                                 Roster::Places::kNoWorker;
  const bool at_once = hopeless || (waiting_.empty() && !Holding());
  if (at_once && Place(flight, absl::OkStatus(), Where::kRoom)) return;
  flight->NoteWaiting();
  std::optional<TurnedAway> displaced;
  const absl::Status status = waiting_.Enter(request, displaced);
  if (!status.ok()) return flight->Fail(status);
  if (displaced) FailTurnedAway(*displaced);
  if (flight->over()) waiting_.Leave(request.id);  // ended before it was there
  BeginWaiting();                                  // room that came since was no news to anybody
}

void Dispatcher::FailTurnedAway(const TurnedAway& one) {
  if (const std::shared_ptr<Flight> flight = FlightOf(one.id.value())) flight->Fail(one.why);
}

// One thread at a time, so that they begin in their order; it goes on as long as others call.
void Dispatcher::BeginWaiting() {
  if (waiting_.empty() || begin_calls_.fetch_add(1) > 0) return;
  int answered = 0;
  do {
    answered = begin_calls_.load();
    while (BeginNext()) {
    }
  } while (begin_calls_.fetch_sub(answered) != answered);
}

bool Dispatcher::BeginNext() {
  const std::optional<RequestId> next = waiting_.Front();
  if (!next || Holding()) return false;
  const std::shared_ptr<Flight> flight = FlightOf(next->value());
  if (flight == nullptr || flight->over()) {
    waiting_.Leave(*next);  // as it is about to do itself
    return true;
  }
  const AcceptedRequest& request = flight->request();
  return roster_.PlacesFor(request.model->name(), request.n, options_.batch_ahead_percent) ==
             Roster::Places::kSome &&
         Place(flight, absl::OkStatus(), Where::kRoom);
}

void Dispatcher::Freed(const WorkerId& worker, int32_t sequences) {
  roster_.Free(worker, sequences);
  freed_ = true;
}

void Dispatcher::Served(const RequestId& request, int64_t tokens) {
  waiting_.Serve(request, tokens);
}

// ---- placing -----------------------------------------------------------------------------------

bool Dispatcher::Place(const std::shared_ptr<Flight>& flight, absl::Status why, Where where) {
  while (!flight->over()) {
    if (flight->losses() >= options_.attempts_max) {
      return flight->Fail(WithRetryAfter(why, options_.retry_after)), true;
    }
    if (static_cast<int>(flight->failed_workers().size()) >= options_.attempts_max) {
      return FailOrStrand(flight, WithRetryAfter(why, options_.retry_after)), true;
    }
    const std::vector<SequenceSpec> sequences = flight->Sequences();
    std::vector<kv::BlockHash> prompt;
    absl::StatusOr<Decision> decision = Decide(*flight, sequences, why, where, &prompt);
    if (!decision.ok()) return FailOrStrand(flight, decision.status()), true;
    if (decision->decode.value().empty()) return false;
    if (!Reserve(flight->request(), sequences, *decision, where)) continue;
    if (!flight->PlaceOn(*decision)) break;
    roster_.Expect(decision->prefill.empty() ? decision->decode : decision->prefill.front(),
                   prompt);
    const WorkerId worker = decision->decode;
    const std::vector<WorkerId> prefill = decision->prefill;
    decisions_.Add(*std::move(decision));  // before anybody can have its first token
    const absl::Status sent = Submit(sequences, worker, prefill);
    if (sent.ok()) {
      // It may have been cancelled between PlaceOn and Submit, ahead of its own submission.
      if (flight->over()) CancelOnWorker(worker, sequences.front().id.request, std::nullopt);
      return true;
    }
    why = flight->OnWorkerLost(worker, sent);
    if (why.ok()) return true;  // over, or placed by whoever noticed first
    where = Where::kAnywhere;   // it had its turn
    metrics_.Resubmitted();
  }
  waiting_.Leave(flight->request().id);  // it may have begun after it had landed
  return true;
}

void Dispatcher::FailOrStrand(const std::shared_ptr<Flight>& flight, absl::Status why) {
  if (!flight->admitted() || options_.resume_timeout <= absl::ZeroDuration()) {
    return flight->Fail(why);
  }
  const absl::Duration now = clock_.Monotonic();
  const absl::Duration until = flight->StrandedUntil(now + options_.resume_timeout);
  stranded_.Add({.flight = flight,
                 .why = std::move(why),
                 .until = until,
                 .try_at = now + options_.resume_pause});
}

void Dispatcher::RetryStranded() {
  const absl::Duration now = clock_.Monotonic();
  for (Stranded::Entry& entry : stranded_.TakeDue(now)) {
    if (entry.flight->over()) continue;
    if (now >= entry.until) {
      entry.flight->Fail(entry.why);
      continue;
    }
    entry.flight->ForgetFailures();
    Place(entry.flight, std::move(entry.why));
  }
}

absl::StatusOr<Decision> Dispatcher::Decide(const Flight& flight,
                                            const std::vector<SequenceSpec>& sequences,
                                            const absl::Status& why, Where where,
                                            std::vector<kv::BlockHash>* prompt) {
  const AcceptedRequest& request = flight.request();
  const std::vector<int32_t>& tokens = sequences.front().prompt;
  const auto facts = roster_.Facts(request.model->name());
  const std::string_view why_local = WhyLocal(sequences.front().sampling);
  // Filled again and again: from one request to the next most of it stays as it is.
  static thread_local PlacementSnapshot snapshot;
  snapshot.decode.resize(facts ? snapshot.decode.size() : 0);
  if (facts) {
    *prompt = kv::HashBlocks(tokens, facts->block_tokens, facts->hash_salt);
    // A prompt that is scored finds nothing in a cache: its logits are wanted, too.
    std::span<const kv::BlockHash> findable;
    if (!sequences.front().sampling.prompt_logprobs) findable = *prompt;
    roster_.SnapshotFor(request.model->name(), findable, flight.failed_workers(), snapshot);
    KeepEquals(flight.fingerprint(), snapshot.decode);
  }
  if (snapshot.decode.empty()) {
    const absl::Status status =
        !why.ok() ? why
                  : Unavailable("no decode worker can take a request for \"{}\" now; try again",
                                request.model->name());
    return WithRetryAfter(status, options_.retry_after);
  }
  if (!MarkCrowded(sequences, options_.batch_ahead_percent, snapshot.decode) &&
      where == Where::kRoom) {
    return Decision();
  }
  if (!why_local.empty()) snapshot.prefill.clear();
  const PlacementRequest wanted{.id = request.id,
                                .prompt_tokens = static_cast<int32_t>(tokens.size()),
                                .max_tokens = *sequences.front().sampling.max_tokens,
                                .choices = static_cast<int32_t>(sequences.size()),
                                .priority = request.priority,
                                .session = SessionKeyOf(request.user, *prompt, tokens)};
  Decision decision = policies_.Decide(request.model->name(), wanted, snapshot);
  for (const WorkerState& worker : snapshot.decode) {
    if (worker.profile.id == decision.decode) decision.fingerprint = worker.profile.fingerprint;
  }
  if (!why_local.empty()) decision.reason = why_local;
  const WorkerId source = flight.kv_source();
  if (why_local.empty() && !source.value().empty() && source != decision.decode) {
    decision.prefill.insert(decision.prefill.begin(), source);
    decision.reason = reason::kMigrated;
  }
  decision.at = clock_.Wall();
  metrics_.Placed(decision.reason);
  return decision;
}

absl::Status Dispatcher::Submit(const std::vector<SequenceSpec>& sequences, const WorkerId& decode,
                                const std::vector<WorkerId>& prefill_workers) {
  const std::shared_ptr<DecodeLink> link = LinkTo(decode);
  if (link == nullptr) return Unavailable("no link to {}", decode.value());
  v1::DecodeCommand command;
  for (const SequenceSpec& spec : sequences) {
    *command.mutable_submit()->add_sequences() = rpc::ToProto(spec);
  }
  for (const WorkerId& prefill : prefill_workers) {
    const std::optional<WorkerProfile> profile = roster_.ProfileOf(prefill);
    if (!profile) continue;  // left a moment ago
    v1::PrefillTarget* target = command.mutable_submit()->add_prefill();
    target->set_worker_id(prefill.value());
    target->set_grpc_address(profile->grpc_address);
    // Without it the decode worker could never tell that a killed prefill worker cannot write any
    // more.
    target->mutable_transfer()->ParseFromString(profile->transfer);
  }
  if (link->Send(std::move(command))) return absl::OkStatus();
  return Unavailable("the link to {} is broken", decode.value());
}

bool Dispatcher::Reserve(const AcceptedRequest& request, const std::vector<SequenceSpec>& sequences,
                         const Decision& decision, Where where) {
  const auto prompt = static_cast<int64_t>(sequences.front().prompt.size());
  int64_t cached_decode = 0;
  int64_t cached_prefill = 0;
  for (const Candidate& candidate : decision.candidates) {
    if (candidate.decode != decision.decode) continue;
    cached_decode = candidate.cached_tokens_decode;
    if (!decision.prefill.empty() && candidate.prefill == decision.prefill.front()) {
      cached_prefill = candidate.cached_tokens_prefill;
    }
  }
  const bool local = decision.prefill.empty();
  const Demand demand{.sequences = static_cast<int32_t>(sequences.size()),
                      .tokens = local ? prompt - cached_decode : 0,
                      .tokens_missing = prompt - cached_decode};
  std::optional<int32_t> ahead;
  if (where == Where::kRoom) ahead = options_.batch_ahead_percent;
  if (!roster_.TryPlace(decision.decode, demand, ahead)) return false;
  if (!local) roster_.AddPlaced(decision.prefill.front(), {.tokens = prompt - cached_prefill});
  waiting_.Begin(request, prompt - (local ? cached_decode : cached_prefill));
  return true;
}

// ---- news from workers -------------------------------------------------------------------------

void Dispatcher::OnEvent(DecodeLink& link, const v1::DecodeEvent& event) {
  // Deltas of one request lie together or not; one message per request to its door either way.
  std::vector<std::pair<std::shared_ptr<Flight>, std::vector<const v1::SequenceDelta*>>> news;
  absl::flat_hash_map<std::string, size_t> where;
  for (const v1::SequenceDelta& delta : event.deltas()) {
    auto [entry, fresh] = where.try_emplace(delta.request_id(), news.size());
    if (fresh)
      news.emplace_back(FlightOf(delta.request_id()), std::vector<const v1::SequenceDelta*>());
    news[entry->second].second.push_back(&delta);
    NoteOutcome(link.worker(), delta);
  }
  for (auto& [flight, deltas] : news) {
    if (flight == nullptr) continue;  // over
    const absl::Status retry = flight->OnDeltas(link.worker(), deltas);
    if (retry.ok()) continue;
    telemetry::LogInfo("dispatch", "request goes on elsewhere",
                       {{"request", flight->request().id.value()},
                        {"worker", link.worker().value()},
                        {"why", MessageOf(retry)}},
                       flight->request().traceparent);
    metrics_.Resubmitted();
    Place(flight, retry);
  }
  if (freed_.exchange(false)) BeginWaiting();
}

void Dispatcher::NoteOutcome(const WorkerId& decode, const v1::SequenceDelta& delta) {
  if (delta.status_code() == static_cast<int>(absl::StatusCode::kInternal)) {
    return NoteFailure(decode, 1, delta.status_message());
  }
  if (!delta.has_times() || delta.tokens().empty()) return;
  NoteSuccess(decode);
  if (!delta.times().prefill_worker().empty())
    NoteSuccess(WorkerId(delta.times().prefill_worker()));
  for (const v1::HandoverFailure& failure : delta.times().failures()) {
    const bool wrong = failure.status_code() == static_cast<int>(absl::StatusCode::kDataLoss);
    const bool full =
        failure.status_code() == static_cast<int>(absl::StatusCode::kResourceExhausted) ||
        failure.status_code() == static_cast<int>(absl::StatusCode::kFailedPrecondition);
    if (full) continue;  // a refusal is no fault
    NoteFailure(WorkerId(failure.prefill_worker()), wrong ? kWrongBytesWeight : 1,
                failure.message());
  }
}

void Dispatcher::NoteFailure(const WorkerId& worker, int weight, const std::string& why) {
  if (!roster_.NoteFailure(worker, weight)) return;
  metrics_.Ejected();
  telemetry::LogWarning("dispatch", "worker ejected: it fails",
                        {{"worker", worker.value()}, {"why", why}});
}

void Dispatcher::NoteSuccess(const WorkerId& worker) {
  if (!roster_.NoteSuccess(worker)) return;
  telemetry::LogInfo("dispatch", "worker readmitted: it has proved itself",
                     {{"worker", worker.value()}});
}

void Dispatcher::OnBroken(DecodeLink& link, const absl::Status& why) {
  telemetry::LogInfo("dispatch", "link ended",
                     {{"worker", link.worker().value()}, {"why", MessageOf(why)}});
  roster_.SetReachable(link.worker(), false);
  {
    absl::MutexLock lock(&mutex_);
    auto found = links_.find(link.worker());
    if (found != links_.end() && found->second.get() == &link) {
      links_.erase(found);
      broken_at_[link.worker()] = clock_.Monotonic();
    }
  }
  if (!roster_.IsDraining(link.worker())) NoteFailure(link.worker(), 1, MessageOf(why));
  MoveFlightsFrom(link.worker(), why);
  absl::MutexLock lock(&mutex_);
  --links_alive_;
}

void Dispatcher::MoveFlightsFrom(const WorkerId& worker, const absl::Status& why) {
  for (const std::shared_ptr<Flight>& flight : Flights()) {
    const absl::Status retry = flight->OnWorkerLost(worker, why);
    if (retry.ok()) continue;
    metrics_.Resubmitted();
    Place(flight, retry);
  }
}

void Dispatcher::OnJoined(const WorkerProfile& profile) {
  if (profile.role != WorkerRole::kDecode) return;
  OpenLink(profile.id, profile.grpc_address);
}

// The link of a worker that has left stays while requests run on it: it may only have lost its way
// to us for a moment. A dead worker's link breaks by itself.
void Dispatcher::OnLeft(const WorkerProfile& profile) {}

void Dispatcher::OnStalled(const WorkerProfile& profile) {
  telemetry::LogWarning("dispatch", "a worker's engine hangs: no new work for it",
                        {{"worker", profile.id.value()}});
  if (profile.role != WorkerRole::kDecode) return;
  MoveFlightsFrom(profile.id, Unavailable("its engine hangs in a step"));
}

void Dispatcher::OnDraining(const WorkerProfile& profile) {
  telemetry::LogInfo("dispatch", "a worker is leaving", {{"worker", profile.id.value()}});
  if (profile.role == WorkerRole::kDecode) MigrateFrom(profile.id);
}

void Dispatcher::MigrateFrom(const WorkerId& worker) {
  std::vector<std::shared_ptr<Flight>> there;
  int moving = 0;
  for (std::shared_ptr<Flight>& flight : Flights()) {
    if (flight->kv_source() == worker) ++moving;
    if (flight->worker() == worker) there.push_back(std::move(flight));
  }
  for (const std::shared_ptr<Flight>& flight : there) {
    const Room room = RoomFor(*flight);
    if (room == Room::kLater) {
      hold_until_ns_ = absl::ToInt64Nanoseconds(clock_.Monotonic() + kMigrationHold);
    }
    if (moving >= options_.migrations_max) return;
    if (room != Room::kNow || !flight->LeaveWorker(worker, "its worker is leaving")) continue;
    metrics_.Migrated();
    ++moving;
    Place(flight, absl::OkStatus());
  }
}

// By the last reports. What cannot begin at once elsewhere is better off where it is.
Dispatcher::Room Dispatcher::RoomFor(const Flight& flight) const {
  const Flight::Footprint needed = flight.footprint();
  static thread_local PlacementSnapshot snapshot;
  roster_.SnapshotFor(flight.request().model->name(), {}, {}, snapshot);
  KeepEquals(flight.fingerprint(), snapshot.decode);
  if (snapshot.decode.empty()) return Room::kNowhere;
  const auto has_room = [&](const WorkerState& to) {
    const engine::LoadReport& load = to.load.engine;
    const int64_t tokens = int64_t{load.blocks_free + load.blocks_cached} * to.profile.block_tokens;
    const int32_t batch_max = to.profile.batch_sequences_max;  // 0: it stated none
    return (batch_max == 0 || to.taken_sequences() + needed.sequences <= batch_max) &&
           (load.blocks_total == 0 || needed.tokens < tokens);
  };
  return std::any_of(snapshot.decode.begin(), snapshot.decode.end(), has_room) ? Room::kNow
                                                                               : Room::kLater;
}

// ---- links -------------------------------------------------------------------------------------

void Dispatcher::OpenLink(const WorkerId& worker, const std::string& address) {
  absl::MutexLock lock(&mutex_);
  if (closing_ || links_.contains(worker)) return;
  broken_at_.erase(worker);
  ++links_alive_;
  links_[worker] = open_link_(worker, address, *this);
}

std::shared_ptr<DecodeLink> Dispatcher::LinkTo(const WorkerId& worker) const {
  absl::MutexLock lock(&mutex_);
  auto found = links_.find(worker);
  return found == links_.end() ? nullptr : found->second;
}

void Dispatcher::CancelOnWorker(const WorkerId& worker, const RequestId& request,
                                std::optional<int32_t> choice) {
  const std::shared_ptr<DecodeLink> link = LinkTo(worker);
  if (link == nullptr) return;
  v1::DecodeCommand command;
  command.mutable_cancel()->set_request_id(request.value());
  if (choice) command.mutable_cancel()->set_choice(*choice);
  (void)link->Send(std::move(command));  // broken: everything on it is cancelled anyway
}

void Dispatcher::TendLinks() {
  std::vector<std::shared_ptr<DecodeLink>> links;
  {
    absl::MutexLock lock(&mutex_);
    for (const auto& [worker, link] : links_) links.push_back(link);
  }
  for (const auto& link : links) {
    const WorkerId& worker = link->worker();
    roster_.SetReachable(worker, link->connected());
    const bool draining = roster_.IsDraining(worker);
    if (draining) MigrateFrom(worker);
    // A draining worker stays for as long as it hears from somebody that it is needed: by this.
    if ((draining || roster_.AddressOf(worker).empty()) && !IsNeeded(worker)) link->Close();
  }
  Reconnect();
}

bool Dispatcher::IsNeeded(const WorkerId& worker) const {
  const auto flights = Flights();
  return std::any_of(flights.begin(), flights.end(), [&](const auto& flight) {
    return flight->worker() == worker || flight->kv_source() == worker;
  });
}

void Dispatcher::Reconnect() {
  std::vector<WorkerId> due;
  {
    absl::MutexLock lock(&mutex_);
    for (const auto& [worker, at] : broken_at_) {
      if (clock_.Monotonic() - at >= options_.reconnect_pause) due.push_back(worker);
    }
    for (const WorkerId& worker : due) broken_at_.erase(worker);
  }
  for (const WorkerId& worker : due) {
    const std::string address = roster_.AddressOf(worker);
    if (!address.empty() && !roster_.IsDraining(worker)) OpenLink(worker, address);
  }
}

// ---- upkeep ------------------------------------------------------------------------------------

void Dispatcher::Tick() {
  TendLinks();
  EndOverdue();
  RetryStranded();
  for (const TurnedAway& one : waiting_.TakeOverdue()) FailTurnedAway(one);
  BeginWaiting();
  waiting_.Publish();
  roster_.Tidy();
  int counts[2][2] = {};
  size_t blocks = 0;
  int waiting = 0;
  for (const Roster::Entry& entry : roster_.List()) {
    const bool decode = entry.state.profile.role == WorkerRole::kDecode;
    const bool ready =
        !entry.draining && !entry.suspect && !entry.ejected && (!decode || entry.reachable);
    ++counts[decode][ready];
    blocks += entry.indexed_blocks;
    waiting += entry.state.load.engine.waiting;
  }
  for (const bool decode : {false, true}) {
    for (const bool ready : {false, true}) {
      metrics_.Workers(NameOf(decode ? WorkerRole::kDecode : WorkerRole::kPrefill),
                       ready ? "ready" : "not_ready", counts[decode][ready]);
    }
  }
  metrics_.KvIndexBlocks(blocks);
  metrics_.WaitingSequences(waiting);
}

void Dispatcher::EndOverdue() {
  const absl::Duration now = clock_.Monotonic();
  for (const auto& flight : Flights()) {
    if (flight->request().deadline > now) continue;
    flight->Fail(absl::DeadlineExceededError("the request's time is over"));
  }
}

bool Dispatcher::ready() const {
  const auto models = roster_.Models();
  return std::any_of(models.begin(), models.end(), [](const auto& model) { return model.ready; });
}

void Dispatcher::FirstToken(const Candidate& placed, absl::Duration after) {
  const WorkerId& computed_by = placed.prefill.value().empty() ? placed.decode : placed.prefill;
  roster_.NoteTtft(computed_by, absl::Milliseconds(placed.estimate.ttft_ms), after);
}

void Dispatcher::Landed(FlightReport report) {
  {
    absl::MutexLock lock(&mutex_);
    flights_.erase(report.request.value());
    metrics_.Inflight(--inflight_);
  }
  waiting_.Leave(report.request);
  requests_.Add(std::move(report));
}

std::optional<FlightReport> Dispatcher::ReportOn(std::string_view request) const {
  for (const std::shared_ptr<Flight>& flight : Flights()) {
    if (IsNamed(flight->request().id, request)) return flight->Report();
  }
  return requests_.Find(request);
}

std::vector<FlightReport> Dispatcher::Reports(size_t limit) const {
  std::vector<FlightReport> reports;
  for (const std::shared_ptr<Flight>& flight : Flights()) {
    if (reports.size() == limit) return reports;
    reports.push_back(flight->Report());
  }
  for (FlightReport& report : requests_.Recent(limit - reports.size())) {
    reports.push_back(std::move(report));
  }
  return reports;
}

std::shared_ptr<Flight> Dispatcher::FlightOf(const std::string& request) const {
  absl::MutexLock lock(&mutex_);
  auto found = flights_.find(std::string(RequestOf(request)));
  return found == flights_.end() ? nullptr : found->second;
}

std::vector<std::shared_ptr<Flight>> Dispatcher::Flights() const {
  absl::MutexLock lock(&mutex_);
  std::vector<std::shared_ptr<Flight>> flights;
  flights.reserve(flights_.size());
  for (const auto& [id, flight] : flights_) flights.push_back(flight);
  return flights;
}

void Dispatcher::Shutdown() {
  std::vector<std::shared_ptr<DecodeLink>> links;
  {
    absl::MutexLock lock(&mutex_);
    closing_ = true;
    broken_at_.clear();
    for (const auto& [worker, link] : links_) links.push_back(link);
  }
  for (const auto& flight : Flights()) {
    flight->Fail(Unavailable("the router is shutting down; try again"));
  }
  for (const auto& link : links) link->Close();
  absl::MutexLock lock(&mutex_);
  const auto all_gone = [this]()
                            ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return links_alive_ == 0; };
  mutex_.Await(absl::Condition(&all_gone));
}

}  // namespace baton::router
