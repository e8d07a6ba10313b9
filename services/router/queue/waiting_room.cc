#include "services/router/queue/waiting_room.h"

#include <array>

#include "services/router/intake/field_error.h"

namespace baton::router {
namespace {

std::vector<std::string> NamesOf(const std::vector<Tenant>& tenants) {
  std::vector<std::string> names;
  for (const Tenant& tenant : tenants) names.push_back(tenant.name);
  return names;
}

}  // namespace

WaitingRoom::WaitingRoom(const RequestQueue::Options& options, telemetry::Metrics& metrics,
                         const Clock& clock)
    : clock_(clock),
      tenants_(options.tenants),
      metrics_(metrics, NamesOf(options.tenants)),
      queue_(options) {
  for (size_t i = 0; i < tenants_.size(); ++i) tenant_of_.emplace(tenants_[i].name, i);
  for (const char* reason : turned_away::kAll) metrics_.MayTurnAway(reason);
}

absl::Status WaitingRoom::Check(std::string_view tenant, int32_t priority) const {
  if (empty()) return absl::OkStatus();
  absl::Status status;
  {
    absl::MutexLock lock(&mutex_);
    if (queue_.num_waiting() == 0) return absl::OkStatus();
    status = queue_.Check(TenantOf(tenant), priority, clock_.Monotonic());
  }
  if (!status.ok()) metrics_.TurnedAway(ErrorCodeOf(status));
  return status;
}

absl::Status WaitingRoom::Enter(const AcceptedRequest& request,
                                std::optional<TurnedAway>& displaced) {
  absl::Status status;
  {
    absl::MutexLock lock(&mutex_);
    status = queue_.Enter(Describe(request), clock_.Monotonic(), displaced);
    NoteSize();
  }
  if (!status.ok()) metrics_.TurnedAway(ErrorCodeOf(status));
  if (displaced) metrics_.TurnedAway(ErrorCodeOf(displaced->why));
  return status;
}

std::optional<RequestId> WaitingRoom::Front() const {
  absl::MutexLock lock(&mutex_);
  const WaitingRequest* front = queue_.Front(clock_.Monotonic());
  if (front == nullptr) return std::nullopt;
  return front->id;
}

absl::Duration WaitingRoom::Begin(const AcceptedRequest& request, int64_t computed_tokens) {
  bool waits = false;
  absl::Duration waited;
  {
    absl::MutexLock lock(&mutex_);
    waits = queue_.Waits(request.id);
    waited = queue_.Begin(Describe(request), computed_tokens, clock_.Monotonic());
    NoteSize();
  }
  if (waits) metrics_.Waited(UrgencyOf(request.priority), waited);
  return waited;
}

void WaitingRoom::Serve(const RequestId& id, int64_t tokens) {
  absl::MutexLock lock(&mutex_);
  queue_.Serve(id, tokens);
}

void WaitingRoom::Leave(const RequestId& id) {
  absl::MutexLock lock(&mutex_);
  queue_.Leave(id, clock_.Monotonic());
  NoteSize();
}

std::vector<TurnedAway> WaitingRoom::TakeOverdue() {
  if (empty()) return {};
  std::vector<TurnedAway> overdue;
  {
    absl::MutexLock lock(&mutex_);
    overdue = queue_.TakeOverdue(clock_.Monotonic());
    NoteSize();
  }
  for (const TurnedAway& one : overdue) metrics_.TurnedAway(ErrorCodeOf(one.why));
  return overdue;
}

void WaitingRoom::Publish() {
  const State now = state();
  std::vector<std::array<size_t, 3>> waiting(tenants_.size());
  for (const RequestQueue::LineState& line : now.lines) {
    waiting[line.tenant][static_cast<size_t>(UrgencyOf(line.priority))] += line.waiting;
  }
  for (size_t tenant = 0; tenant < tenants_.size(); ++tenant) {
    for (const Urgency urgency : {Urgency::kUrgent, Urgency::kNormal, Urgency::kBackground}) {
      metrics_.Waiting(urgency, tenant, waiting[tenant][static_cast<size_t>(urgency)]);
    }
    metrics_.Tokens(tenant, now.served[tenant].prompt_tokens, now.served[tenant].output_tokens);
  }
}

WaitingRoom::State WaitingRoom::state() const {
  const absl::Duration now = clock_.Monotonic();
  absl::MutexLock lock(&mutex_);
  State state{.waiting = queue_.num_waiting(),
              .tokens_waiting = queue_.tokens_waiting(),
              .requests_per_second = queue_.requests_per_second(now),
              .lines = queue_.Lines(now)};
  for (size_t tenant = 0; tenant < tenants_.size(); ++tenant) {
    state.served.push_back(queue_.served(tenant));
  }
  return state;
}

const std::string& WaitingRoom::TenantNamed(std::string_view name) const {
  return tenants_[TenantOf(name)].name;
}

size_t WaitingRoom::TenantOf(std::string_view name) const {
  const auto found = tenant_of_.find(name);
  return found == tenant_of_.end() ? 0 : found->second;
}

WaitingRequest WaitingRoom::Describe(const AcceptedRequest& request) const {
  return {.id = request.id,
          .tenant = TenantOf(request.tenant),
          .priority = request.priority,
          .prompt_tokens = static_cast<int64_t>(request.prompt.size()),
          .output_tokens_max = int64_t{request.n} * request.sampling.max_tokens.value_or(0),
          .deadline = request.deadline};
}

void WaitingRoom::NoteSize() { waiting_.store(queue_.num_waiting(), std::memory_order_release); }

}  // namespace baton::router
