#include "services/router/dispatch/flight.h"

#include <algorithm>
#include <utility>

#include "services/router/dispatch/continuation.h"

namespace baton::router {
namespace {

// Enough of the prompt to know that there is text in front of the output.
constexpr size_t kContextTokens = 16;

// The prompt goes through the choices' own text, token by token.
bool EchoesTokens(const AcceptedRequest& request) {
  return request.echo && request.sampling.prompt_logprobs;
}

std::span<const int32_t> ContextOf(const AcceptedRequest& request) {
  if (!request.continues_text || EchoesTokens(request)) return {};
  const std::span<const int32_t> prompt = request.prompt;
  return prompt.last(std::min(prompt.size(), kContextTokens));
}

// Errors of a worker, not of the request: another worker may do better.
bool MayRetry(const absl::Status& status) {
  return absl::IsUnavailable(status) || absl::IsResourceExhausted(status) ||
         absl::IsFailedPrecondition(status) || absl::IsInternal(status);
}

}  // namespace

Flight::Flight(AcceptedRequest request, std::shared_ptr<EventSink> sink, FlightCrew& crew,
               RouterMetrics& metrics, const Clock& clock)
    : request_(std::move(request)),
      crew_(crew),
      metrics_(metrics),
      of_model_(metrics.Of(request_.model->name())),
      clock_(clock),
      sink_(std::move(sink)),
      attempt_id_(request_.id),
      open_choices_(request_.n) {
  report_.request = request_.id;
  report_.model = request_.model->name();
  report_.tenant = request_.tenant;
  report_.accepted_at = clock_.Wall() - (clock_.Monotonic() - request_.accepted_at);
  report_.prompt_tokens = static_cast<int32_t>(request_.prompt.size());
  report_.trace = request_.trace;
  report_.tokenized = request_.tokenized_at - request_.accepted_at;
  choices_.resize(request_.n);
  for (Choice& choice : choices_) {
    choice.text = std::make_unique<ChoiceText>(request_.model->tokenizer(), request_.sampling,
                                               ContextOf(request_));
  }
}

std::vector<SequenceSpec> Flight::Sequences() const {
  absl::MutexLock lock(&mutex_);
  const absl::Duration now = clock_.Monotonic();
  std::vector<SequenceSpec> sequences;
  for (int32_t i = 0; i < request_.n; ++i) {
    if (choices_[i].ended) continue;
    SequenceSpec& spec =
        sequences.emplace_back(ContinuationOf(request_, i, choices_[i].tokens, now));
    spec.id.request = attempt_id_;
    // The first one's are everybody's, and nobody needs them twice.
    if (i > 0 || prompt_told_ == request_.prompt.size()) spec.sampling.prompt_logprobs.reset();
  }
  return sequences;
}

void Flight::NoteWaiting() {
  absl::MutexLock lock(&mutex_);
  waiting_since_ = clock_.Monotonic();
  report_.queued_from = *waiting_since_ - request_.accepted_at;
}

bool Flight::PlaceOn(const Decision& decision, absl::Duration asked_at) {
  absl::MutexLock lock(&mutex_);
  if (sink_ == nullptr) {
    crew_.Freed(decision.decode, decision.request.choices);
    return false;
  }
  EndWaiting();
  worker_ = decision.decode;
  held_ = decision.request.choices;
  worker_token_fingerprint_ = decision.token_fingerprint;
  for (Choice& choice : choices_) choice.tokens_at_placement = choice.tokens.size();
  report_.AddPlacement(decision, asked_at - request_.accepted_at, SinceAccepted());
  if (prompt_told_ < request_.prompt.size()) prompt_scored_ = 0;
  if (started_) return true;  // the client knows the rest already
  started_ = true;
  std::vector<Event> events;
  events.push_back(
      Started{.request = request_.id,
              .prompt_tokens = static_cast<int32_t>(request_.prompt.size()),
              .seed = *request_.sampling.seed,
              .decode = decision.decode,
              .prefill = decision.prefill.empty() ? WorkerId() : decision.prefill.front()});
  if (request_.echo && !EchoesTokens(request_)) {
    const std::string text = request_.model->tokenizer().Decode(request_.prompt, true);
    for (int32_t i = 0; i < request_.n; ++i) events.push_back(Piece{.choice = i, .text = text});
  }
  Tell(std::move(events));
  return sink_ != nullptr;
}

absl::Status Flight::OnWorkerLost(const WorkerId& worker, const absl::Status& why) {
  absl::MutexLock lock(&mutex_);
  if (sink_ == nullptr || worker != worker_) return absl::OkStatus();
  admitted_ = true;
  ++losses_;
  return FailOrRetry(Unavailable("the decode worker was lost ({}); try again", MessageOf(why)));
}

bool Flight::LeaveWorker(const WorkerId& worker, std::string_view why) {
  absl::MutexLock lock(&mutex_);
  if (sink_ == nullptr || worker.value().empty() || worker != worker_) return false;
  admitted_ = true;
  const bool has_tokens = std::any_of(choices_.begin(), choices_.end(), [](const Choice& choice) {
    return !choice.ended && !choice.tokens.empty();
  });
  // Moved on before its KV has come from the worker before: that one still is the one to ask.
  if (has_tokens && kv_source_.value().empty()) kv_source_ = worker;
  Detach(why);
  return true;
}

void Flight::Fail(const absl::Status& status) {
  absl::MutexLock lock(&mutex_);
  if (sink_ != nullptr) FailLocked(status);
}

void Flight::Cancel() {
  {
    absl::MutexLock lock(&mutex_);
    if (sink_ == nullptr) return;  // the crew may be gone
    CancelLocked();
  }
  crew_.Settled();
}

std::vector<WorkerId> Flight::failed_workers() const {
  absl::MutexLock lock(&mutex_);
  return failed_workers_;
}

void Flight::ForgetFailures() {
  absl::MutexLock lock(&mutex_);
  failed_workers_.clear();
}

int Flight::losses() const {
  absl::MutexLock lock(&mutex_);
  return losses_;
}

bool Flight::admitted() const {
  absl::MutexLock lock(&mutex_);
  return admitted_;
}

absl::Duration Flight::StrandedUntil(absl::Duration proposed) {
  absl::MutexLock lock(&mutex_);
  if (!stranded_until_) stranded_until_ = proposed;
  return *stranded_until_;
}

WorkerId Flight::worker() const {
  absl::MutexLock lock(&mutex_);
  return worker_;
}

WorkerId Flight::kv_source() const {
  absl::MutexLock lock(&mutex_);
  return kv_source_;
}

std::string Flight::token_fingerprint() const {
  absl::MutexLock lock(&mutex_);
  return token_fingerprint_;
}

bool Flight::over() const {
  absl::MutexLock lock(&mutex_);
  return sink_ == nullptr;
}

Flight::Footprint Flight::footprint() const {
  absl::MutexLock lock(&mutex_);
  Footprint footprint;
  for (const Choice& choice : choices_) {
    if (choice.ended) continue;
    ++footprint.sequences;
    const auto tokens = static_cast<int64_t>(request_.prompt.size() + choice.tokens.size());
    footprint.tokens = std::max(footprint.tokens, tokens);
  }
  return footprint;
}

// ---- the end -----------------------------------------------------------------------------------

void Flight::Complete(std::vector<Event> events) {
  Completed done{.prompt_tokens = static_cast<int32_t>(request_.prompt.size()),
                 .cached_tokens = cached_tokens_,
                 .ttft = ttft_.value_or(absl::ZeroDuration()),
                 .total = clock_.Monotonic() - request_.accepted_at};
  for (const Choice& choice : choices_) done.completion_tokens += choice.text->num_tokens();
  of_model_.Tokens(done.prompt_tokens, done.cached_tokens, done.completion_tokens);
  of_model_.Completed(done.total);
  events.push_back(done);
  (void)sink_->OnEvents(std::move(events));  // over, whatever the door thinks of it
  Land("completed");
}

// Another worker goes on from the tokens the client has, and nobody will know: a token depends on
// those before it alone.
absl::Status Flight::FailOrRetry(const absl::Status& status) {
  if (!MayRetry(status)) {
    FailLocked(status);
    return absl::OkStatus();
  }
  if (absl::IsInternal(status)) ++losses_;
  failed_workers_.push_back(worker_);
  Detach(MessageOf(status));
  // A precondition of the worker's, not of the client's.
  return absl::IsFailedPrecondition(status) ? Unavailable("{}", MessageOf(status)) : status;
}

void Flight::Detach(std::string_view why) {
  crew_.CancelOnWorker(worker_, attempt_id_, std::nullopt);
  report_.placements.back().left_because = why;
  report_.placements.back().left = SinceAccepted();
  LetGo(held_);
  worker_ = WorkerId();
  attempt_id_ = AttemptId(request_.id, ++attempt_);
}

void Flight::LetGo(int32_t sequences) {
  sequences = std::min(sequences, held_);
  if (sequences == 0) return;
  held_ -= sequences;
  crew_.Freed(worker_, sequences);
}

void Flight::EndWaiting() {
  if (!waiting_since_) return;
  report_.queued = clock_.Monotonic() - *waiting_since_;
  waiting_since_.reset();
}

void Flight::FailLocked(const absl::Status& status) {
  of_model_.Failed();
  crew_.CancelOnWorker(worker_, attempt_id_, std::nullopt);
  std::vector<Event> events;
  events.push_back(Failed{status});
  (void)sink_->OnEvents(std::move(events));
  report_.error = MessageOf(status);
  Land("failed");
}

void Flight::CancelLocked() {
  of_model_.Cancelled();
  crew_.CancelOnWorker(worker_, attempt_id_, std::nullopt);
  Land("cancelled");
}

void Flight::Tell(std::vector<Event> events) {
  if (!sink_->OnEvents(std::move(events))) CancelLocked();
}

void Flight::Land(std::string_view state) {
  sink_ = nullptr;
  EndWaiting();
  LetGo(held_);
  report_.state = state;
  report_.total = clock_.Monotonic() - request_.accepted_at;
  crew_.Landed(ReportLocked());
}

// ---- the report --------------------------------------------------------------------------------

FlightReport Flight::Report() const {
  absl::MutexLock lock(&mutex_);
  return ReportLocked();
}

FlightReport Flight::ReportLocked() const {
  FlightReport report = report_;
  report.ttft = ttft_;
  if (sink_ != nullptr) report.total = clock_.Monotonic() - request_.accepted_at;
  if (waiting_since_) {
    report.state = "waiting";
    report.queued = clock_.Monotonic() - *waiting_since_;
  }
  for (const Choice& choice : choices_) report.completion_tokens += choice.text->num_tokens();
  return report;
}

// Of the first placement: what comes after a loss was not foreseen by anyone.
void Flight::NoteFirstPlacement() {
  if (report_.placements_total != 1) return;
  const FlightReport::Placement& placement = report_.placements.front();
  if (const std::string_view to = placement.turned_to(); !to.empty()) metrics_.Turned(to);
  const Candidate* chosen = ChosenOf(placement.decision);
  if (chosen == nullptr) return;
  metrics_.TtftPredicted(absl::Milliseconds(chosen->estimate.ttft_ms), *ttft_ - placement.after);
  // A prefill that went another way than it was placed says nothing of the estimate.
  const bool as_placed =
      placement.measured && placement.measured->prefill_worker() == chosen->prefill.value();
  if (as_placed) crew_.FirstToken(*chosen, *ttft_ - placement.after);
}

}  // namespace baton::router
