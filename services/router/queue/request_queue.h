#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "services/router/queue/service_rate.h"
#include "services/router/queue/tenant_line.h"
#include "services/router/queue/waiting_request.h"

namespace baton::router {

// Who goes next when not everybody can. Between priorities strictly the more urgent one; inside a
// priority the tenant that has had the fewest tokens for its weight; inside a tenant by Order.
//
// Tokens: of each priority every tenant has a virtual time, which grows by the tokens it was served
// (prompt tokens that were computed, output tokens) over its weight, and the smallest goes next
// (start-time fair queueing). What a request is expected to generate is counted when it begins, and
// corrected as the tokens come. Who begins to wait starts at the virtual time of the one that began
// last: having been idle earns nothing.
//
// Bounded: what does not fit is turned away, or turns away somebody who deserves the place less: of
// the least urgent priority, the last of the tenant that fills the queue the most for its weight.
//
// Plain data: no thread, no clock; `now` is monotonic and never goes back.
class RequestQueue {
 public:
  enum class Order : uint8_t { kFifo, kDeadline, kShortest };
  struct Options {
    Order order = Order::kFifo;
    absl::Duration aging = absl::Seconds(10);
    int64_t requests_max = 1024;
    int64_t tokens_max = 1 << 22;  // of prompts
    absl::Duration wait_max = absl::InfiniteDuration();
    absl::Duration retry_after_min = absl::Seconds(1);
    absl::Duration retry_after_max = absl::Minutes(1);
    std::vector<Tenant> tenants = {{.name = "default"}};  // at least one
  };
  explicit RequestQueue(Options options);

  // It waits from now on. `displaced`: who lost its place to it, at most one. An error: it is
  // turned away itself; RESOURCE_EXHAUSTED when that is about its tenant, UNAVAILABLE when there is
  // no place for anybody like it, with ErrorCodeOf() one of turned_away::k… and RetryAfterOf().
  absl::Status Enter(const WaitingRequest& request, absl::Duration now,
                     std::optional<TurnedAway>& displaced);
  // Would it be turned away, however small it is? As Enter().
  absl::Status Check(size_t tenant, int32_t priority, absl::Duration now) const;

  // Who goes next; null: nobody waits. Until the next change.
  const WaitingRequest* Front(absl::Duration now) const;
  // It begins, whether it waited or not: how long. `computed_tokens`: of its prompt, those that are
  // not cached. Nothing: it has left already, or runs.
  absl::Duration Begin(const WaitingRequest& request, int64_t computed_tokens, absl::Duration now);
  // It was served output tokens. Unknown ones are ignored, here and in Leave().
  void Serve(const RequestId& id, int64_t tokens);
  // It waits no more, or runs no more.
  void Leave(const RequestId& id, absl::Duration now);
  // Those that have waited too long. They leave.
  std::vector<TurnedAway> TakeOverdue(absl::Duration now);

  bool Waits(const RequestId& id) const { return waiting_.contains(id); }
  size_t num_waiting() const { return waiting_.size(); }
  int64_t tokens_waiting() const { return tokens_waiting_; }
  const std::vector<Tenant>& tenants() const { return options_.tenants; }
  double requests_per_second(absl::Duration now) const { return rate_.PerSecond(now); }

  // For people: one line of it.
  struct LineState {
    int32_t priority = 0;
    size_t tenant = 0;
    size_t waiting = 0;
    int64_t tokens_waiting = 0;
    absl::Duration oldest;  // its wait so far
    size_t running = 0;
    double lead_tokens = 0;  // of its virtual time over its priority's; times its weight
  };
  std::vector<LineState> Lines(absl::Duration now) const;  // by priority, then tenant
  // Tokens served since the start, of prompts and of outputs.
  struct Served {
    int64_t prompt_tokens = 0;
    int64_t output_tokens = 0;
  };
  Served served(size_t tenant) const { return totals_[tenant].served; }

 private:
  struct Entry {
    WaitingRequest request;
    absl::Duration since;
  };
  struct Share {
    TenantLine line;
    int64_t tokens_waiting = 0;
    size_t running = 0;
    double virtual_tokens = 0;  // of the next one to begin
  };
  struct Class {
    std::map<size_t, Share> shares;
    std::set<std::pair<double, size_t>> backlogged;  // virtual time, tenant
    double virtual_tokens = 0;                       // of the last one that began
    size_t waiting = 0;
    size_t running = 0;
  };
  struct Running {
    size_t tenant = 0;
    int32_t priority = 0;
    int64_t output_tokens = 0;
    int64_t ahead = 0;  // counted already, not served yet
  };
  struct Totals {
    int64_t waiting = 0;
    int64_t tokens_waiting = 0;
    double output_mean = 0;  // of its last requests; 0: it had none
    Served served;
  };
  // What is to become of somebody who comes: an error, or who has to go for it.
  struct Judgement {
    absl::Status status;
    std::optional<uint64_t> victim;  // its arrival
    bool less_urgent = false;        // than the one who comes
  };
  Judgement Judge(const WaitingRequest& request, absl::Duration now) const;
  absl::Status JudgeTenant(const WaitingRequest& request, absl::Duration now) const;
  Judgement JudgeFull(const WaitingRequest& request, absl::Duration now) const;
  bool Fits(int64_t requests, int64_t tokens) const;
  // How much of the queue it fills with one more such request, for its weight.
  double FillOf(const Share& share, size_t tenant, int64_t more_requests,
                int64_t more_tokens) const;
  // Until a request that comes now would begin; zero: nothing is known.
  absl::Duration WaitFor(size_t tenant, int32_t priority, absl::Duration now) const;
  absl::Status TurnAway(absl::StatusCode code, const char* reason, std::string_view why,
                        absl::Duration wait) const;

  int64_t KeyOf(const WaitingRequest& request) const;
  int64_t ExpectedOutput(const WaitingRequest& request, int64_t if_unknown) const;
  void SetVirtual(Class& priority, size_t tenant, double virtual_tokens);
  void Insert(const WaitingRequest& request, absl::Duration now);
  Entry Remove(uint64_t arrival, absl::Duration now);
  void EndRunning(const Running& running);
  void DropIfIdle(int32_t priority);

  const Options options_;
  std::map<int32_t, Class> classes_;   // with somebody in them
  std::map<uint64_t, Entry> entries_;  // by arrival
  absl::flat_hash_map<RequestId, uint64_t> waiting_;
  absl::flat_hash_map<RequestId, Running> running_;
  std::vector<Totals> totals_;  // by tenant
  int64_t tokens_waiting_ = 0;
  uint64_t next_arrival_ = 0;
  ServiceRate rate_;
};

}  // namespace baton::router
