// What workers say, and what becomes of those that run there.
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "common/telemetry/logging.h"
#include "fmt/format.h"
#include "services/router/dispatch/dispatcher.h"

namespace baton::router {
namespace {

// A worker that hands over wrong bytes is out at once.
constexpr int kWrongBytesWeight = 3;

// Longer than the time from one look at a draining worker to the next.
constexpr absl::Duration kMigrationHold = absl::Milliseconds(100);

}  // namespace

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
    const bool left = failure.status_code() == static_cast<int>(absl::StatusCode::kCancelled);
    if (full || left) continue;  // a refusal is no fault, and what we did not wait for none anew
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
  links_.Forget(link);
  if (!roster_.IsDraining(link.worker())) NoteFailure(link.worker(), 1, MessageOf(why));
  MoveFlightsFrom(link.worker(), why);
  links_.Ended();
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
  links_.Open(profile.id, profile.grpc_address);
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
  if (profile.role == WorkerRole::kDecode) MigrateFrom(profile.id, /*hold=*/true);
}

void Dispatcher::OnSlow(const WorkerProfile& profile, double factor) {
  metrics_.Ejected();
  telemetry::LogWarning("dispatch", "worker ejected: it has become slow",
                        {{"worker", profile.id.value()},
                         {"times_slower_than_its_equals", fmt::format("{:.1f}", factor)}});
  if (profile.role != WorkerRole::kPrefill) return;  // a decode worker's requests: LeaveAiling()
  v1::DecodeCommand command;
  command.mutable_leave()->set_worker_id(profile.id.value());
  command.mutable_leave()->set_why("it has become slow");
  for (const std::shared_ptr<DecodeLink>& link : links_.All()) (void)link->Send(command);
}

void Dispatcher::OnFastAgain(const WorkerProfile& profile) {
  telemetry::LogInfo("dispatch", "worker readmitted: it is as fast as its equals",
                     {{"worker", profile.id.value()}});
}

void Dispatcher::LeaveAiling() {
  const Roster::Ailing ailing = roster_.FindAiling();
  for (const WorkerId& worker : ailing.silent) {
    MoveFlightsFrom(worker, Unavailable("it has not been heard of for too long"));
  }
  for (const WorkerId& worker : ailing.slow) MigrateFrom(worker, /*hold=*/false);
}

void Dispatcher::MigrateFrom(const WorkerId& worker, bool hold) {
  std::vector<std::shared_ptr<Flight>> there;
  int moving = 0;
  for (std::shared_ptr<Flight>& flight : Flights()) {
    if (flight->kv_source() == worker) ++moving;
    if (flight->worker() == worker) there.push_back(std::move(flight));
  }
  for (const std::shared_ptr<Flight>& flight : there) {
    const Placer::Room room = placer_.RoomFor(*flight);
    if (hold && room == Placer::Room::kLater) {
      hold_until_ns_ = absl::ToInt64Nanoseconds(clock_.Monotonic() + kMigrationHold);
    }
    if (moving >= options_.migrations_max) return;
    if (room != Placer::Room::kNow ||
        !flight->LeaveWorker(worker, hold ? "its worker is leaving" : "its worker is slow"))
      continue;
    metrics_.Migrated();
    ++moving;
    Place(flight, absl::OkStatus());
  }
}

}  // namespace baton::router
