#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "baton/v1/worker.pb.h"
#include "common/base/clock.h"
#include "services/router/dispatch/choice_text.h"
#include "services/router/dispatch/event.h"
#include "services/router/dispatch/flight_report.h"
#include "services/router/intake/client_request.h"
#include "services/router/intake/served_model.h"
#include "services/router/placement/policy.h"
#include "services/router/telemetry/router_metrics.h"

namespace baton::router {

// What a flight needs done outside of itself. Called with the flight's lock held: implementations
// take leaf locks only and do not call back into the flight.
class FlightCrew {
 public:
  virtual ~FlightCrew() = default;
  // Absent choice: all.
  virtual void CancelOnWorker(const WorkerId& worker, const RequestId& request,
                              std::optional<int32_t> choice) = 0;
  // Its first token came so long after it was placed as `placed` estimates.
  virtual void FirstToken(const Candidate& placed, absl::Duration after) = 0;
  // Nothing more will be asked for this flight; called once.
  virtual void Landed(FlightReport report) = 0;
  // So many of its sequences on this worker are over, or are another worker's business now.
  virtual void Freed(const WorkerId& worker, int32_t sequences) = 0;
  // It got tokens.
  virtual void Served(const AcceptedRequest& request, int64_t tokens) = 0;
  // The client has ended it. Called without the flight's lock.
  virtual void Settled() = 0;
};

// One request in flight: from its placement to its last event. Turns a decode worker's deltas into
// events for the door, honours stop strings, and ends exactly once: completed, failed or cancelled.
// Thread-safe. Shared by the dispatcher (until it lands) and the door (which may cancel it).
class Flight {
 public:
  Flight(AcceptedRequest request, std::shared_ptr<EventSink> sink, FlightCrew& crew,
         RouterMetrics& metrics, const Clock& clock);

  const AcceptedRequest& request() const { return request_; }

  // What is left to run: every choice that has not ended, from where the client has it. In the name
  // of this attempt; each placement is another one. Nothing changes it between two placements.
  std::vector<SequenceSpec> Sequences() const;
  // It waits from now on, until it is placed.
  void NoteWaiting();
  // Where it runs now; called before its sequences are submitted there, and after the decision's
  // choices have got places there: Freed() gives them back. False: it is over already.
  // `asked_at`: when a worker was looked for, monotonic.
  bool PlaceOn(const Decision& decision, absl::Duration asked_at);
  // News from `worker`; ignored when the flight is somewhere else by now, or over. When it cannot
  // go on there but could on another worker, the flight stays up and the reason is returned: place
  // it again or fail it.
  absl::Status OnDeltas(const WorkerId& worker,
                        const std::vector<const v1::SequenceDelta*>& deltas);
  // The worker is lost, or does not take it. As above: not OK when it may be placed again.
  absl::Status OnWorkerLost(const WorkerId& worker, const absl::Status& why);
  // Takes it off a worker that is well but wants to leave, to be placed again at once. What it has
  // computed is to be had from there: see kv_source(). False: it is not there, or over.
  bool LeaveWorker(const WorkerId& worker, std::string_view why);
  // Ends it with an error to the client.
  void Fail(const absl::Status& status);
  // The client wants no more. Nothing is told to the door any more.
  void Cancel();

  // Workers that could not go on with it since its last token, newest last; asked again only after
  // ForgetFailures().
  std::vector<WorkerId> failed_workers() const;
  void ForgetFailures();
  // Workers that died or broke under it since its last token: is it the request that kills them?
  int losses() const;
  // A worker has had it: it is not turned away any more.
  bool admitted() const;
  // When nobody can take it: how long that has been put up with already decides. `proposed`, or
  // what was proposed first since its last token.
  absl::Duration StrandedUntil(absl::Duration proposed);
  WorkerId worker() const;
  // The worker it was moved from, whose cache holds the KV of its tokens; until every choice has
  // gone on elsewhere. Empty: none.
  WorkerId kv_source() const;
  // Of the worker that its tokens come from: only its equals can go on with them. Empty: it has no
  // token yet.
  std::string token_fingerprint() const;
  bool over() const;
  // What is left to run needs so much room.
  struct Footprint {
    int32_t sequences = 0;
    int64_t tokens = 0;  // of the longest one, so far
  };
  Footprint footprint() const;
  // What has happened so far.
  FlightReport Report() const;

 private:
  struct Choice {
    std::unique_ptr<ChoiceText> text;
    std::vector<int32_t> tokens;  // generated so far: what another worker would go on from
    bool ended = false;
    size_t tokens_at_placement = 0;
    std::optional<absl::Duration> last_token;
  };
  absl::Status Apply(const v1::SequenceDelta& delta, std::vector<Event>& events)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status TakePrompt(const v1::SequenceDelta& delta, std::vector<Event>& events)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void TellPrompt(const GeneratedToken& token, std::vector<Piece>& pieces)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void TakeTokens(Choice& choice, const v1::SequenceDelta& delta, int num_visible,
                  std::vector<Event>& events) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void EndChoice(Choice& choice, int32_t index, FinishReason reason, std::string stop,
                 std::vector<Event>& events) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Detach(std::string_view why) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void LetGo(int32_t sequences) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void EndWaiting() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void NoteTimes(v1::SequenceTimes times) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void NoteTokenText(Choice& choice, const v1::SequenceDelta& delta, int num_visible,
                     std::vector<Event>& events) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Duration SinceAccepted() const { return clock_.Monotonic() - request_.accepted_at; }
  void NoteArrival() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void NoteTokenTime(Choice& choice, int tokens) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Complete(std::vector<Event> events) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status FailOrRetry(const absl::Status& status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void FailLocked(const absl::Status& status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void CancelLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Tell(std::vector<Event> events) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Land(std::string_view state) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  FlightReport ReportLocked() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void NoteFirstPlacement() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const AcceptedRequest request_;
  FlightCrew& crew_;
  RouterMetrics& metrics_;
  ModelMetrics& of_model_;
  const Clock& clock_;

  mutable absl::Mutex mutex_;
  std::shared_ptr<EventSink> sink_ ABSL_GUARDED_BY(mutex_);  // null: over
  WorkerId worker_ ABSL_GUARDED_BY(mutex_);                  // empty: between two placements
  int32_t held_ ABSL_GUARDED_BY(mutex_) = 0;                 // places on worker_
  std::optional<absl::Duration> waiting_since_ ABSL_GUARDED_BY(mutex_);
  WorkerId kv_source_ ABSL_GUARDED_BY(mutex_);
  std::string worker_token_fingerprint_ ABSL_GUARDED_BY(mutex_);  // of worker_
  std::string token_fingerprint_ ABSL_GUARDED_BY(mutex_);
  int attempt_ ABSL_GUARDED_BY(mutex_) = 1;
  RequestId attempt_id_ ABSL_GUARDED_BY(mutex_);
  std::vector<WorkerId> failed_workers_ ABSL_GUARDED_BY(mutex_);
  int losses_ ABSL_GUARDED_BY(mutex_) = 0;
  bool admitted_ ABSL_GUARDED_BY(mutex_) = false;
  std::optional<absl::Duration> stranded_until_ ABSL_GUARDED_BY(mutex_);
  bool started_ ABSL_GUARDED_BY(mutex_) = false;  // the client has been told
  FlightReport report_ ABSL_GUARDED_BY(mutex_);   // but for what is counted anew in Report()
  std::vector<Choice> choices_ ABSL_GUARDED_BY(mutex_);
  int32_t open_choices_ ABSL_GUARDED_BY(mutex_);
  // With prompt_logprobs: tokens of the prompt that this worker has scored, and that the client was
  // told of. A worker after the first repeats what is told already.
  size_t prompt_scored_ ABSL_GUARDED_BY(mutex_) = 0;
  size_t prompt_told_ ABSL_GUARDED_BY(mutex_) = 0;
  int32_t cached_tokens_ ABSL_GUARDED_BY(mutex_) = 0;
  std::optional<absl::Duration> ttft_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace baton::router
