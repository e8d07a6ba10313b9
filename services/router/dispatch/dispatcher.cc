#include "services/router/dispatch/dispatcher.h"

#include <algorithm>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "common/rpc/convert.h"
#include "services/router/dispatch/continuation.h"
#include "services/router/intake/field_error.h"

namespace baton::router {
namespace {

constexpr absl::Duration kPublishEvery = absl::Milliseconds(200);  // gauges of all workers

}  // namespace

Dispatcher::Dispatcher(const Options& options, PolicyTable& policies, Roster& roster,
                       RouterMetrics& metrics, DecodeLinkOpener open_link, const Clock& clock)
    : options_(options),
      policies_(policies),
      roster_(roster),
      metrics_(metrics),
      clock_(clock),
      placer_(
          {.batch_ahead_percent = options.batch_ahead_percent, .worker_wait = options.worker_wait},
          policies, roster, metrics, clock),
      decisions_(static_cast<size_t>(options.decisions_kept)),
      requests_(static_cast<size_t>(options.decisions_kept)),
      waiting_(options.queue, metrics.registry(), clock),
      links_(std::move(open_link), *this, options.reconnect_pause, clock) {
  roster_.set_listener(this);
}

absl::Status Dispatcher::CheckRoom(std::string_view model, std::string_view tenant,
                                   int32_t priority) const {
  if (draining_) {
    return WithRetryAfter(Unavailable("the router is shutting down; try again"),
                          options_.retry_after);
  }
  if (inflight() < options_.inflight_requests_max) return waiting_.Check(model, tenant, priority);
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
    metrics_.Of(flight->request().model->name()).Accepted(flight->request().prompt.size());
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
  const bool at_once = waiting_.empty(request.model->name()) ? !Holding() : IsHopeless(request);
  if (at_once && Place(flight, absl::OkStatus(), Placer::Where::kRoom)) return;
  flight->NoteWaiting();
  std::optional<TurnedAway> displaced;
  const absl::Status status = waiting_.Enter(request, displaced);
  if (!status.ok()) return flight->Fail(status);
  if (displaced) FailTurnedAway(*displaced);
  if (flight->over())
    waiting_.Leave(request.model->name(), request.id);  // ended before it was there
  BeginWaiting();  // room that came since was no news to anybody
}

bool Dispatcher::IsHopeless(const AcceptedRequest& request) const {
  return placer_.PlacesFor(request) == Roster::Places::kNoWorker &&
         !placer_.ExpectsWorker(request.model->name());
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
  bool any = false;
  for (const WaitingRoom::Next& next : waiting_.Fronts()) {
    if (Holding()) return false;
    const std::shared_ptr<Flight> flight = FlightOf(next.id.value());
    if (flight == nullptr || flight->over()) {
      waiting_.Leave(next.model, next.id);  // as it is about to do itself
      any = true;
      continue;
    }
    const AcceptedRequest& request = flight->request();
    any |= (placer_.PlacesFor(request) == Roster::Places::kSome || IsHopeless(request)) &&
           Place(flight, absl::OkStatus(), Placer::Where::kRoom);
  }
  return any;
}

void Dispatcher::Freed(const WorkerId& worker, int32_t sequences) {
  roster_.Free(worker, sequences);
  freed_ = true;
}

void Dispatcher::Served(const AcceptedRequest& request, int64_t tokens) {
  waiting_.Serve(request, tokens);
}

// ---- placing -----------------------------------------------------------------------------------

bool Dispatcher::Place(const std::shared_ptr<Flight>& flight, absl::Status why,
                       Placer::Where where) {
  while (!flight->over()) {
    if (flight->losses() >= options_.attempts_max) {
      return flight->Fail(WithRetryAfter(why, options_.retry_after)), true;
    }
    if (static_cast<int>(flight->failed_workers().size()) >= options_.attempts_max) {
      return FailOrStrand(flight, WithRetryAfter(why, options_.retry_after)), true;
    }
    const absl::Duration asked_at = clock_.Monotonic();
    const std::vector<SequenceSpec> sequences = flight->Sequences();
    auto found = placer_.Find(*flight, sequences, why, where);
    if (!found.ok()) return FailOrStrand(flight, found.status()), true;
    if (!*found) return false;
    Decision& decision = (*found)->decision;
    waiting_.Begin(flight->request(), (*found)->tokens_to_compute);
    if (!flight->PlaceOn(decision, asked_at)) break;
    const WorkerId worker = decision.decode;
    roster_.Expect(decision.prefill.empty() ? worker : decision.prefill.front(), (*found)->prompt);
    decisions_.Add(decision);  // before anybody can have its first token
    const absl::Status sent = Submit(sequences, decision);
    if (sent.ok()) {
      // It may have been cancelled between PlaceOn and Submit, ahead of its own submission.
      if (flight->over()) CancelOnWorker(worker, sequences.front().id.request, std::nullopt);
      return true;
    }
    why = flight->OnWorkerLost(worker, sent);
    if (why.ok()) return true;         // over, or placed by whoever noticed first
    where = Placer::Where::kAnywhere;  // it had its turn
    metrics_.Resubmitted();
  }
  waiting_.Leave(flight->request().model->name(),
                 flight->request().id);  // it may have begun after it had landed
  return true;
}

void Dispatcher::FailOrStrand(const std::shared_ptr<Flight>& flight, absl::Status why) {
  const absl::Duration now = clock_.Monotonic();
  absl::Duration patience = options_.resume_timeout;
  // One that had its turn and did not begin waits here for a worker that is expected. worker_wait
  // alone may be without end, and the queue's bound is for those in the queue.
  if (!flight->admitted()) {
    const bool expected = placer_.ExpectsWorker(flight->request().model->name());
    patience = expected ? std::min(patience, options_.worker_wait) : absl::ZeroDuration();
  }
  if (patience <= absl::ZeroDuration()) return flight->Fail(why);
  const absl::Duration until = flight->StrandedUntil(now + patience);
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

absl::Status Dispatcher::Submit(const std::vector<SequenceSpec>& sequences,
                                const Decision& decision) {
  const std::shared_ptr<DecodeLink> link = links_.To(decision.decode);
  if (link == nullptr) return Unavailable("no link to {}", decision.decode.value());
  v1::DecodeCommand command;
  for (const SequenceSpec& spec : sequences) {
    *command.mutable_submit()->add_sequences() = rpc::ToProto(spec);
  }
  const bool local = decision.prefill.empty();
  if (local && !decision.spare.empty()) {
    const double wait_max_ms = absl::ToDoubleMilliseconds(decision.local_wait_max);
    command.mutable_submit()->set_local_wait_max_ms(wait_max_ms);
  }
  for (const WorkerId& prefill : local ? decision.spare : decision.prefill) {
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
  return Unavailable("the link to {} is broken", decision.decode.value());
}

// ---- links -------------------------------------------------------------------------------------

void Dispatcher::CancelOnWorker(const WorkerId& worker, const RequestId& request,
                                std::optional<int32_t> choice) {
  const std::shared_ptr<DecodeLink> link = links_.To(worker);
  if (link == nullptr) return;
  v1::DecodeCommand command;
  command.mutable_cancel()->set_request_id(request.value());
  if (choice) command.mutable_cancel()->set_choice(*choice);
  (void)link->Send(std::move(command));  // broken: everything on it is cancelled anyway
}

void Dispatcher::TendLinks() {
  for (const auto& link : links_.All()) {
    const WorkerId& worker = link->worker();
    roster_.SetReachable(worker, link->connected());
    const bool draining = roster_.IsDraining(worker);
    if (draining) MigrateFrom(worker, /*hold=*/true);
    // A draining worker stays for as long as it hears from somebody that it is needed: by this.
    if ((draining || roster_.AddressOf(worker).empty()) && !IsNeeded(worker)) link->Close();
  }
  for (const WorkerId& worker : links_.TakeDue()) {
    const std::string address = roster_.AddressOf(worker);
    if (!address.empty() && !roster_.IsDraining(worker)) links_.Open(worker, address);
  }
}

bool Dispatcher::IsNeeded(const WorkerId& worker) const {
  const auto flights = Flights();
  return std::any_of(flights.begin(), flights.end(), [&](const auto& flight) {
    return flight->worker() == worker || flight->kv_source() == worker;
  });
}

// ---- upkeep ------------------------------------------------------------------------------------

void Dispatcher::Tick() {
  TendLinks();
  LeaveAiling();
  EndOverdue();
  RetryStranded();
  for (const TurnedAway& one : waiting_.TakeOverdue()) FailTurnedAway(one);
  BeginWaiting();
  waiting_.Publish();
  roster_.Tidy();
  PublishWorkers();
}

void Dispatcher::PublishWorkers() {
  const absl::Duration now = clock_.Monotonic();
  if (now < absl::Nanoseconds(publish_at_ns_.load())) return;
  publish_at_ns_ = absl::ToInt64Nanoseconds(now + kPublishEvery);
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
  if (options_.worker_wait == absl::InfiniteDuration() && roster_.has_served()) return true;
  const auto models = roster_.Models();
  return std::any_of(models.begin(), models.end(), [](const auto& model) { return model.ready; });
}

void Dispatcher::FirstToken(const Candidate& placed, absl::Duration after) {
  const WorkerId& computed_by = placed.prefill.value().empty() ? placed.decode : placed.prefill;
  roster_.NoteTtft(computed_by, absl::Milliseconds(placed.estimate.ttft_ms), after);
}

// Kept before it leaves those in flight: whoever has its answer finds it in one of the two.
void Dispatcher::Landed(FlightReport report) {
  const RequestId id = report.request;
  const std::string model = report.model;
  if (landed_) landed_(report);
  requests_.Add(std::move(report));
  {
    absl::MutexLock lock(&mutex_);
    flights_.erase(id.value());
    metrics_.Inflight(--inflight_);
  }
  waiting_.Leave(model, id);
}

std::optional<FlightReport> Dispatcher::ReportOn(std::string_view request) const {
  for (const std::shared_ptr<Flight>& flight : Flights()) {
    if (IsNamed(flight->request().id, request)) return flight->Report();
  }
  return requests_.Find(request);
}

std::vector<FlightReport> Dispatcher::Reports(size_t limit) const {
  std::vector<FlightReport> reports;
  absl::flat_hash_set<std::string> listed;
  for (const std::shared_ptr<Flight>& flight : Flights()) {
    if (reports.size() == limit) return reports;
    reports.push_back(flight->Report());
    listed.insert(reports.back().request.value());
  }
  for (FlightReport& report : requests_.Recent(limit - reports.size())) {
    if (listed.contains(report.request.value())) continue;  // has ended since
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
  {
    absl::MutexLock lock(&mutex_);
    closing_ = true;
  }
  for (const auto& flight : Flights()) {
    flight->Fail(Unavailable("the router is shutting down; try again"));
  }
  links_.Shutdown();
}

}  // namespace baton::router
