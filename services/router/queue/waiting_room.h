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

// The RequestQueue of a router that is at work: under a lock, on the clock, with its figures.
// Knows requests by id; whose they are and where they go is the dispatcher's business. Thread-safe;
// its lock is a leaf.
class WaitingRoom {
 public:
  WaitingRoom(const RequestQueue::Options& options, telemetry::Metrics& metrics,
              const Clock& clock);

  // Is it worthwhile to look closer at a request? As RequestQueue::Check; OK while nobody waits:
  // then it may not have to.
  absl::Status Check(std::string_view tenant, int32_t priority) const;
  bool empty() const { return waiting_.load(std::memory_order_acquire) == 0; }

  // As RequestQueue's, with the time and the tenant's name put in.
  absl::Status Enter(const AcceptedRequest& request, std::optional<TurnedAway>& displaced);
  std::optional<RequestId> Front() const;
  absl::Duration Begin(const AcceptedRequest& request, int64_t computed_tokens);
  void Serve(const RequestId& id, int64_t tokens);
  void Leave(const RequestId& id);
  std::vector<TurnedAway> TakeOverdue();

  // Brings the gauges up to date. Called every few tens of milliseconds.
  void Publish();

  // For people.
  struct State {
    size_t waiting = 0;
    int64_t tokens_waiting = 0;
    double requests_per_second = 0;  // beginning, while others wait; 0: not known
    std::vector<RequestQueue::LineState> lines;
    std::vector<RequestQueue::Served> served;  // by tenant
  };
  State state() const;
  const std::vector<Tenant>& tenants() const { return tenants_; }
  // The one that a request which calls itself so belongs to.
  const std::string& TenantNamed(std::string_view name) const;

 private:
  size_t TenantOf(std::string_view name) const;
  WaitingRequest Describe(const AcceptedRequest& request) const;
  void NoteSize() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const Clock& clock_;
  const std::vector<Tenant> tenants_;
  std::map<std::string, size_t, std::less<>> tenant_of_;
  mutable QueueMetrics metrics_;
  std::atomic<size_t> waiting_ = 0;
  mutable absl::Mutex mutex_;
  RequestQueue queue_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace baton::router
