#include "services/router/wiring/queue_options.h"

namespace baton::router {
namespace {

RequestQueue::Order OrderOf(config::QueueOrder order) {
  switch (order) {
    case config::QueueOrder::kFifo:
      return RequestQueue::Order::kFifo;
    case config::QueueOrder::kDeadline:
      return RequestQueue::Order::kDeadline;
    case config::QueueOrder::kShortest:
      return RequestQueue::Order::kShortest;
  }
  return RequestQueue::Order::kFifo;
}

int64_t BoundOf(const std::map<std::string, int64_t>& bounds, const std::string& tenant) {
  const auto found = bounds.find(tenant);
  return found == bounds.end() ? 0 : found->second;
}

}  // namespace

absl::Duration WorkerWaitOf(const config::QueueOptions& options) {
  return options.without_workers ? absl::InfiniteDuration() : options.worker_wait;
}

RequestQueue::Options RequestQueueOptionsOf(const config::QueueOptions& options) {
  RequestQueue::Options queue{.order = OrderOf(options.order),
                              .aging = options.aging,
                              .requests_max = options.requests_max,
                              .tokens_max = options.tokens_max,
                              .wait_max = options.wait_max == absl::ZeroDuration()
                                              ? absl::InfiniteDuration()
                                              : options.wait_max,
                              .retry_after_max = options.retry_after_max};
  queue.tenants.front().name = config::kDefaultTenant;
  for (const auto& [name, weight] : options.tenants) {
    if (name == config::kDefaultTenant) {
      queue.tenants.front().weight = weight;
    } else {
      queue.tenants.push_back({.name = name, .weight = weight});
    }
  }
  for (Tenant& tenant : queue.tenants) {
    tenant.requests_max = BoundOf(options.tenant_requests_max, tenant.name);
    tenant.tokens_max = BoundOf(options.tenant_tokens_max, tenant.name);
  }
  return queue;
}

}  // namespace baton::router
