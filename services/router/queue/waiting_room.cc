#include "services/router/queue/waiting_room.h"

#include <array>
#include <utility>

#include "services/router/intake/field_error.h"
#include "services/router/intake/served_model.h"

namespace baton::router {
namespace {

std::vector<std::string> NamesOf(const std::vector<Tenant>& tenants) {
  std::vector<std::string> names;
  for (const Tenant& tenant : tenants) names.push_back(tenant.name);
  return names;
}

std::string_view ModelOf(const AcceptedRequest& request) {
  return request.model == nullptr ? std::string_view() : request.model->name();
}

}  // namespace

WaitingRoom::WaitingRoom(RequestQueue::Options options, telemetry::Metrics& metrics,
                         const Clock& clock)
    : clock_(clock),
      options_(std::move(options)),
      tenants_(options_.tenants),
      metrics_(metrics, NamesOf(options_.tenants)) {
  for (size_t i = 0; i < tenants_.size(); ++i) tenant_of_.emplace(tenants_[i].name, i);
  for (const char* reason : turned_away::kAll) metrics_.MayTurnAway(reason);
}

absl::Status WaitingRoom::Check(std::string_view model, std::string_view tenant,
                                int32_t priority) const {
  if (empty()) return absl::OkStatus();
  absl::Status status;
  {
    absl::MutexLock lock(&mutex_);
    const RequestQueue* const queue = Find(model);
    if (queue == nullptr || queue->num_waiting() == 0) return absl::OkStatus();
    status = queue->Check(TenantOf(tenant), priority, clock_.Monotonic());
  }
  if (!status.ok()) metrics_.TurnedAway(ErrorCodeOf(status));
  return status;
}

bool WaitingRoom::empty(std::string_view model) const {
  if (empty()) return true;
  absl::MutexLock lock(&mutex_);
  const RequestQueue* const queue = Find(model);
  return queue == nullptr || queue->num_waiting() == 0;
}

absl::Status WaitingRoom::Enter(const AcceptedRequest& request,
                                std::optional<TurnedAway>& displaced) {
  absl::Status status;
  {
    absl::MutexLock lock(&mutex_);
    status = QueueOf(ModelOf(request)).Enter(Describe(request), clock_.Monotonic(), displaced);
    NoteSize();
  }
  if (!status.ok()) metrics_.TurnedAway(ErrorCodeOf(status));
  if (displaced) metrics_.TurnedAway(ErrorCodeOf(displaced->why));
  return status;
}

std::vector<WaitingRoom::Next> WaitingRoom::Fronts() const {
  const absl::Duration now = clock_.Monotonic();
  std::vector<Next> fronts;
  absl::MutexLock lock(&mutex_);
  for (const auto& [model, queue] : queues_) {
    const WaitingRequest* front = queue.Front(now);
    if (front != nullptr) fronts.push_back({model, front->id});
  }
  return fronts;
}

absl::Duration WaitingRoom::Begin(const AcceptedRequest& request, int64_t computed_tokens) {
  bool waits = false;
  absl::Duration waited;
  {
    absl::MutexLock lock(&mutex_);
    RequestQueue& queue = QueueOf(ModelOf(request));
    waits = queue.Waits(request.id);
    waited = queue.Begin(Describe(request), computed_tokens, clock_.Monotonic());
    NoteSize();
  }
  if (waits) metrics_.Waited(UrgencyOf(request.priority), waited);
  return waited;
}

void WaitingRoom::Serve(const AcceptedRequest& request, int64_t tokens) {
  absl::MutexLock lock(&mutex_);
  QueueOf(ModelOf(request)).Serve(request.id, tokens);
}

void WaitingRoom::Leave(std::string_view model, const RequestId& id) {
  absl::MutexLock lock(&mutex_);
  QueueOf(model).Leave(id, clock_.Monotonic());
  NoteSize();
}

std::vector<TurnedAway> WaitingRoom::TakeOverdue() {
  if (empty()) return {};
  std::vector<TurnedAway> overdue;
  {
    absl::MutexLock lock(&mutex_);
    for (auto& [model, queue] : queues_) {
      for (TurnedAway& one : queue.TakeOverdue(clock_.Monotonic())) {
        overdue.push_back(std::move(one));
      }
    }
    NoteSize();
  }
  for (const TurnedAway& one : overdue) metrics_.TurnedAway(ErrorCodeOf(one.why));
  return overdue;
}

void WaitingRoom::Publish() {
  const State now = state();
  std::vector<std::array<size_t, 3>> waiting(tenants_.size());
  for (const State::Line& line : now.lines) {
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
  State state{.served = std::vector<RequestQueue::Served>(tenants_.size())};
  absl::MutexLock lock(&mutex_);
  for (const auto& [model, queue] : queues_) {
    state.waiting += queue.num_waiting();
    state.tokens_waiting += queue.tokens_waiting();
    state.requests_per_second += queue.requests_per_second(now);
    for (const RequestQueue::LineState& line : queue.Lines(now)) {
      state.lines.push_back({line, model});
    }
    for (size_t tenant = 0; tenant < tenants_.size(); ++tenant) {
      state.served[tenant].prompt_tokens += queue.served(tenant).prompt_tokens;
      state.served[tenant].output_tokens += queue.served(tenant).output_tokens;
    }
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

RequestQueue& WaitingRoom::QueueOf(std::string_view model) {
  const auto found = queues_.find(model);
  return found != queues_.end() ? found->second
                                : queues_.try_emplace(std::string(model), options_).first->second;
}

const RequestQueue* WaitingRoom::Find(std::string_view model) const {
  const auto found = queues_.find(model);
  return found == queues_.end() ? nullptr : &found->second;
}

void WaitingRoom::NoteSize() {
  size_t waiting = 0;
  for (const auto& [model, queue] : queues_) waiting += queue.num_waiting();
  waiting_.store(waiting, std::memory_order_release);
}

}  // namespace baton::router
