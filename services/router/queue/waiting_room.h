#pragma once

#include <atomic>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "common/base/clock.h"
#include "services/router/intake/client_request.h"
#include "services/router/queue/request_queue.h"
#include "services/router/telemetry/queue_metrics.h"

namespace baton::router {

// The RequestQueues of a router that is at work: under a lock, on the clock, with their figures.
// One for each model: who waits for workers of one holds up nobody who waits for those of another,
// and the bounds are of each. Knows requests by id; whose they are and where they go is the
// dispatcher's business. Thread-safe; its lock is a leaf.
class WaitingRoom {
 public:
  WaitingRoom(RequestQueue::Options options, telemetry::Metrics& metrics, const Clock& clock);

  // Is it worthwhile to look closer at a request? As RequestQueue::Check; OK while nobody waits:
  // then it may not have to.
  // `model` may be empty, or unknown: then nobody waits for it.
  absl::Status Check(std::string_view model, std::string_view tenant, int32_t priority) const;
  bool empty() const { return waiting_.load(std::memory_order_acquire) == 0; }
  bool empty(std::string_view model) const;

  // As RequestQueue's, with the time and the tenant's name put in.
  absl::Status Enter(const AcceptedRequest& request, std::optional<TurnedAway>& displaced);
  absl::Duration Begin(const AcceptedRequest& request, int64_t computed_tokens);
  void Serve(const AcceptedRequest& request, int64_t tokens);
  void Leave(std::string_view model, const RequestId& id);
  // Who goes next, of each model that somebody waits for.
  struct Next {
    std::string model;
    RequestId id;
  };
  std::vector<Next> Fronts() const;
  std::vector<TurnedAway> TakeOverdue();

  // Brings the gauges up to date. Called every few tens of milliseconds.
  void Publish();

  // For people.
  struct State {
    struct Line : RequestQueue::LineState {
      std::string model;
    };
    size_t waiting = 0;
    int64_t tokens_waiting = 0;
    double requests_per_second = 0;            // beginning, while others wait; 0: not known
    std::vector<Line> lines;                   // by model, priority, tenant
    std::vector<RequestQueue::Served> served;  // by tenant
  };
  State state() const;
  const std::vector<Tenant>& tenants() const { return tenants_; }
  // The one that a request which calls itself so belongs to.
  const std::string& TenantNamed(std::string_view name) const;

 private:
  size_t TenantOf(std::string_view name) const;
  WaitingRequest Describe(const AcceptedRequest& request) const;
  RequestQueue& QueueOf(std::string_view model) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Null: nobody has asked for it yet.
  const RequestQueue* Find(std::string_view model) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void NoteSize() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const Clock& clock_;
  const RequestQueue::Options options_;
  const std::vector<Tenant> tenants_;
  std::map<std::string, size_t, std::less<>> tenant_of_;
  mutable QueueMetrics metrics_;
  std::atomic<size_t> waiting_ = 0;
  mutable absl::Mutex mutex_;
  std::map<std::string, RequestQueue, std::less<>> queues_ ABSL_GUARDED_BY(mutex_);  // by model
};

}  // namespace baton::router
