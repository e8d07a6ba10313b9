#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/btree_map.h"
#include "absl/synchronization/mutex.h"
#include "common/base/clock.h"
#include "services/router/dispatch/decode_links.h"
#include "services/router/dispatch/flight.h"
#include "services/router/dispatch/placer.h"
#include "services/router/dispatch/request_log.h"
#include "services/router/dispatch/stranded.h"
#include "services/router/membership/roster.h"
#include "services/router/placement/decision_log.h"
#include "services/router/placement/policy_table.h"
#include "services/router/queue/waiting_room.h"
#include "services/router/telemetry/router_metrics.h"

namespace baton::router {

// Places requests, or lets them wait until there is room, submits them to decode workers over one
// link each, brings the workers' news to the flights, and lets them go on elsewhere when a worker
// is lost. Thread-safe.
//
// Locks: a flight's lock may be held when mutex_ is taken, never the other way round.
class Dispatcher : public RosterListener, public DecodeLinkListener, public FlightCrew {
 public:
  struct Options {
    int inflight_requests_max = 1024;
    int attempts_max = 3;  // workers tried, or lost in a row, before a request fails
    // How long a request that was running waits for a worker when there is none to go on.
    absl::Duration resume_timeout = absl::Seconds(30);
    absl::Duration resume_pause = absl::Milliseconds(100);
    absl::Duration retry_after = absl::Seconds(1);  // told to those who are turned away
    absl::Duration reconnect_pause = absl::Milliseconds(100);
    // Requests on their way from one draining worker to others at a time: the rest go on there
    // meanwhile.
    int migrations_max = 16;
    int decisions_kept = 256;
    RequestQueue::Options queue;
    // Sequences a decode worker is given beyond its batch, in percent of it.
    int batch_ahead_percent = 25;
    // With no decode worker that can take them, new requests wait for one in the queue, until there
    // has been none for so long. Infinite: the router counts as ready without one.
    absl::Duration worker_wait = absl::Seconds(5);
  };
  // Registers itself as the roster's listener. Everything borrowed outlives this.
  Dispatcher(const Options& options, PolicyTable& policies, Roster& roster, RouterMetrics& metrics,
             DecodeLinkOpener open_link, const Clock& clock);

  // RESOURCE_EXHAUSTED, with RetryAfterOf, beyond the limit of requests in flight; UNAVAILABLE
  // after Drain(); as WaitingRoom::Check() when somebody waits.
  absl::Status CheckRoom(std::string_view model, std::string_view tenant, int32_t priority) const;
  // Everything else that happens, errors included, is told to the sink, from now on and on any
  // thread.
  std::shared_ptr<Flight> Start(AcceptedRequest request, std::shared_ptr<EventSink> sink);

  // Told of every request that has ended, before it is kept for the debug pages. Before the first
  // request; takes leaf locks only, from any thread.
  void set_landed(std::function<void(const FlightReport&)> landed) { landed_ = std::move(landed); }

  // CheckRoom() says no from now on; what is in flight goes on.
  void Drain() { draining_ = true; }
  // Reconnects, deadlines, gauges. Called by the control thread every few tens of milliseconds.
  void Tick();
  // A decode worker can take a request now.
  bool ready() const;
  int inflight() const { return inflight_.load(std::memory_order_relaxed); }
  const DecisionLog& decisions() const { return decisions_; }
  // Of a request in flight, or of one that ended not long ago.
  std::optional<FlightReport> ReportOn(std::string_view request) const;
  // In flight first, then the latest that have ended; at most `limit`.
  std::vector<FlightReport> Reports(size_t limit) const;
  const PolicyTable& policies() const { return policies_; }
  const WaitingRoom& waiting_room() const { return waiting_; }

  // Fails what is still in flight, closes every link and waits for the last callback. Before this
  // is destroyed.
  void Shutdown();

  void OnJoined(const WorkerProfile& profile) override;
  void OnLeft(const WorkerProfile& profile) override;
  void OnStalled(const WorkerProfile& profile) override;
  void OnDraining(const WorkerProfile& profile) override;
  void OnSlow(const WorkerProfile& profile, double factor) override;
  void OnFastAgain(const WorkerProfile& profile) override;
  void OnReported() override { BeginWaiting(); }
  void OnEvent(DecodeLink& link, const v1::DecodeEvent& event) override;
  void OnBroken(DecodeLink& link, const absl::Status& why) override;
  void CancelOnWorker(const WorkerId& worker, const RequestId& request,
                      std::optional<int32_t> choice) override;
  void FirstToken(const Candidate& placed, absl::Duration after) override;
  void Landed(FlightReport report) override;
  void Freed(const WorkerId& worker, int32_t sequences) override;
  void Served(const AcceptedRequest& request, int64_t tokens) override;
  void Settled() override { BeginWaiting(); }

 private:
  // A new request: begins, waits or is turned away.
  void Admit(const std::shared_ptr<Flight>& flight);
  void FailTurnedAway(const TurnedAway& one);
  // Nobody can take it, and nobody is expected: to be placed, it is to fail.
  bool IsHopeless(const AcceptedRequest& request) const;
  // Those that wait begin, in their order, as far as there is room. Called by whoever brings news
  // of room; holds no lock.
  void BeginWaiting();
  // Of each model, the next one. False: nobody waits, or there is no room for them.
  bool BeginNext();

  // Until it runs somewhere or has failed. `why`: what went wrong before, if anything. False: there
  // is no Where::kRoom, and nothing has changed.
  bool Place(const std::shared_ptr<Flight>& flight, absl::Status why,
             Placer::Where where = Placer::Where::kAnywhere);
  absl::Status Submit(const std::vector<SequenceSpec>& sequences, const Decision& decision);
  // Nobody can take it now: turned away, or kept for a while when it was running already, or when
  // somebody is expected who can.
  void FailOrStrand(const std::shared_ptr<Flight>& flight, absl::Status why);
  void RetryStranded();
  // All that runs on this worker goes on elsewhere.
  void MoveFlightsFrom(const WorkerId& worker, const absl::Status& why);
  // Some of what runs on this worker goes on elsewhere, with its KV, where there is room. With
  // `hold` new requests leave them the room that comes.
  void MigrateFrom(const WorkerId& worker, bool hold);
  // What runs on workers that are silent, or have become slow, goes on elsewhere.
  void LeaveAiling();
  // What a worker's delta says of it, and of the prefill workers it has asked.
  void NoteOutcome(const WorkerId& decode, const v1::SequenceDelta& delta);
  void NoteFailure(const WorkerId& worker, int weight, const std::string& why);
  void NoteSuccess(const WorkerId& worker);
  // While something has to leave a draining worker and finds no room, nothing new begins.
  bool Holding() const { return clock_.Monotonic() < absl::Nanoseconds(hold_until_ns_.load()); }
  std::shared_ptr<Flight> FlightOf(const std::string& request) const;
  std::vector<std::shared_ptr<Flight>> Flights() const;
  void TendLinks();
  // Something runs there, or its KV is still to be fetched from there.
  bool IsNeeded(const WorkerId& worker) const;
  void PublishWorkers();
  void EndOverdue();

  const Options options_;
  PolicyTable& policies_;
  Roster& roster_;
  RouterMetrics& metrics_;
  const Clock& clock_;
  Placer placer_;
  DecisionLog decisions_;
  RequestLog requests_;
  std::function<void(const FlightReport&)> landed_;  // null: nobody
  Stranded stranded_;
  WaitingRoom waiting_;
  std::atomic<bool> freed_ = false;         // places, since the last look at who waits
  std::atomic<int64_t> hold_until_ns_ = 0;  // monotonic, as the next
  std::atomic<int64_t> publish_at_ns_ = 0;
  std::atomic<int> begin_calls_ = 0;  // of BeginWaiting() that are not answered yet
  std::atomic<int> inflight_ = 0;
  std::atomic<bool> draining_ = false;

  mutable absl::Mutex mutex_;
  // Ordered: what becomes of many at once does not depend on how they were hashed.
  absl::btree_map<std::string, std::shared_ptr<Flight>> flights_ ABSL_GUARDED_BY(mutex_);
  bool closing_ ABSL_GUARDED_BY(mutex_) = false;
  DecodeLinks links_;
};

}  // namespace baton::router
