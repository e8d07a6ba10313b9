#include "services/router/queue/request_queue.h"

#include <algorithm>
#include <limits>

#include "common/base/check.h"
#include "services/router/intake/field_error.h"

namespace baton::router {
namespace {

// How fast a tenant's mean output follows its last requests.
constexpr double kMeanStep = 0.1;

double Tokens(int64_t tokens) { return static_cast<double>(tokens); }

}  // namespace

RequestQueue::RequestQueue(Options options)
    : options_(std::move(options)), totals_(options_.tenants.size()) {
  CHECK(!options_.tenants.empty(), "a queue needs a tenant");
  for (const Tenant& tenant : options_.tenants) {
    CHECK(tenant.weight > 0, "tenant {} has weight {}", tenant.name, tenant.weight);
  }
}

// ---- coming ------------------------------------------------------------------------------------

absl::Status RequestQueue::Enter(const WaitingRequest& request, absl::Duration now,
                                 std::optional<TurnedAway>& displaced) {
  CHECK(request.tenant < totals_.size(), "tenant {} of {}", request.tenant, totals_.size());
  CHECK(!waiting_.contains(request.id) && !running_.contains(request.id), "{} is here already",
        request.id.value());
  const Judgement judgement = Judge(request, now);
  RETURN_IF_ERROR(judgement.status);
  if (judgement.victim) {
    const WaitingRequest victim = Remove(*judgement.victim, now).request;
    const absl::Duration wait = WaitFor(victim.tenant, victim.priority, now);
    displaced = {
        .id = victim.id,
        .why = judgement.less_urgent
                   ? TurnAway(absl::StatusCode::kUnavailable, turned_away::kDisplaced,
                              "a more urgent request took its place in the full queue", wait)
                   : TurnAway(absl::StatusCode::kResourceExhausted, turned_away::kOverShare,
                              fmt::format("the queue is full, and tenant \"{}\" fills more "
                                          "of it than its share",
                                          options_.tenants[victim.tenant].name),
                              wait)};
  }
  Insert(request, now);
  return absl::OkStatus();
}

absl::Status RequestQueue::Check(size_t tenant, int32_t priority, absl::Duration now) const {
  return Judge({.tenant = tenant, .priority = priority}, now).status;
}

RequestQueue::Judgement RequestQueue::Judge(const WaitingRequest& request,
                                            absl::Duration now) const {
  if (absl::Status status = JudgeTenant(request, now); !status.ok()) return {.status = status};
  const absl::Duration wait = WaitFor(request.tenant, request.priority, now);
  if (wait > std::min(options_.wait_max, request.deadline - now)) {
    return {.status =
                TurnAway(absl::StatusCode::kUnavailable, turned_away::kTooLong,
                         fmt::format("it would have to wait for about {}, too long",
                                     absl::FormatDuration(absl::Ceil(wait, absl::Seconds(1)))),
                         wait)};
  }
  if (Fits(1, request.prompt_tokens)) return {};
  return JudgeFull(request, now);
}

absl::Status RequestQueue::JudgeTenant(const WaitingRequest& request, absl::Duration now) const {
  const Tenant& tenant = options_.tenants[request.tenant];
  const Totals& totals = totals_[request.tenant];
  const auto refuse = [&](std::string_view why) {
    return TurnAway(absl::StatusCode::kResourceExhausted, turned_away::kTenantFull, why,
                    WaitFor(request.tenant, request.priority, now));
  };
  if (tenant.requests_max > 0 && totals.waiting >= tenant.requests_max) {
    return refuse(fmt::format("{} requests of tenant \"{}\" wait already, its limit",
                              totals.waiting, tenant.name));
  }
  if (tenant.tokens_max > 0 && totals.waiting > 0 &&
      totals.tokens_waiting + request.prompt_tokens > tenant.tokens_max) {
    return refuse(fmt::format("{} prompt tokens of tenant \"{}\" wait already, its limit is {}",
                              totals.tokens_waiting, tenant.name, tenant.tokens_max));
  }
  return absl::OkStatus();
}

RequestQueue::Judgement RequestQueue::JudgeFull(const WaitingRequest& request,
                                                absl::Duration now) const {
  const absl::Duration wait = WaitFor(request.tenant, request.priority, now);
  const Judgement full = {
      .status = TurnAway(absl::StatusCode::kUnavailable, turned_away::kQueueFull,
                         fmt::format("the queue is full: {} requests wait with {} prompt tokens",
                                     num_waiting(), tokens_waiting_),
                         wait)};
  // The least urgent of those with somebody waiting.
  const auto last = std::find_if(classes_.rbegin(), classes_.rend(),
                                 [](const auto& entry) { return entry.second.waiting > 0; });
  if (last == classes_.rend() || last->first < request.priority) return full;
  const Class& least = last->second;
  const bool less_urgent = last->first > request.priority;

  size_t fullest = 0;
  double most = -1;
  for (const auto& [virtual_tokens, tenant] : least.backlogged) {
    const double fill = FillOf(least.shares.at(tenant), tenant, 0, 0);
    if (fill > most) {
      most = fill;
      fullest = tenant;
    }
  }
  const uint64_t victim = least.shares.at(fullest).line.Newest();
  const int64_t freed = entries_.at(victim).request.prompt_tokens;
  if (!less_urgent) {
    const auto mine = least.shares.find(request.tenant);
    const Share none;
    const double fill = FillOf(mine == least.shares.end() ? none : mine->second, request.tenant, 1,
                               request.prompt_tokens);
    if (fullest == request.tenant && least.backlogged.size() > 1) {
      return {
          .status = TurnAway(
              absl::StatusCode::kResourceExhausted, turned_away::kOverShare,
              fmt::format("the queue is full, and tenant \"{}\" fills more of it than its share",
                          options_.tenants[request.tenant].name),
              wait)};
    }
    if (fullest == request.tenant || fill >= most) return full;
  }
  if (!Fits(0, request.prompt_tokens - freed)) return full;
  return {.victim = victim, .less_urgent = less_urgent};
}

// A prompt longer than the whole queue is let in where nothing else waits.
bool RequestQueue::Fits(int64_t requests, int64_t tokens) const {
  const auto waiting = static_cast<int64_t>(num_waiting());
  if (waiting + requests > options_.requests_max) return false;
  return waiting == 0 || tokens_waiting_ + tokens <= options_.tokens_max;
}

double RequestQueue::FillOf(const Share& share, size_t tenant, int64_t more_requests,
                            int64_t more_tokens) const {
  const auto requests = static_cast<double>(share.line.size()) + Tokens(more_requests);
  const double tokens = Tokens(share.tokens_waiting + more_tokens);
  return std::max(requests / Tokens(std::max<int64_t>(1, options_.requests_max)),
                  tokens / Tokens(options_.tokens_max)) /
         options_.tenants[tenant].weight;
}

absl::Duration RequestQueue::WaitFor(size_t tenant, int32_t priority, absl::Duration now) const {
  const double per_second = rate_.PerSecond(now);
  if (per_second <= 0) return absl::ZeroDuration();
  double ahead = 0;
  for (auto entry = classes_.begin(); entry != classes_.end() && entry->first < priority; ++entry) {
    ahead += static_cast<double>(entry->second.waiting);
  }
  const auto found = classes_.find(priority);
  if (found != classes_.end()) {
    // While one of its own is served, others get by their weights, as long as they have any.
    const Class& own = found->second;
    double weights = options_.tenants[tenant].weight;
    double mine = 1;
    for (const auto& [virtual_tokens, other] : own.backlogged) {
      if (other == tenant) mine += static_cast<double>(own.shares.at(tenant).line.size());
      if (other != tenant) weights += options_.tenants[other].weight;
    }
    ahead += std::min(mine * weights / options_.tenants[tenant].weight,
                      static_cast<double>(own.waiting));
  }
  return absl::Seconds(ahead / per_second);
}

absl::Status RequestQueue::TurnAway(absl::StatusCode code, const char* reason, std::string_view why,
                                    absl::Duration wait) const {
  const absl::Duration again = std::clamp(wait, options_.retry_after_min, options_.retry_after_max);
  return WithRetryAfter(
      WithErrorCode(absl::Status(code, fmt::format("{}; try again", why)), reason), again);
}

// ---- waiting -----------------------------------------------------------------------------------

const WaitingRequest* RequestQueue::Front(absl::Duration now) const {
  for (const auto& [priority, one] : classes_) {
    if (one.backlogged.empty()) continue;
    const Share& share = one.shares.at(one.backlogged.begin()->second);
    return &entries_.at(share.line.First(now, options_.aging)).request;
  }
  return nullptr;
}

void RequestQueue::Insert(const WaitingRequest& request, absl::Duration now) {
  const uint64_t arrival = next_arrival_++;
  entries_.emplace(arrival, Entry{.request = request, .since = now});
  waiting_.emplace(request.id, arrival);
  Class& priority = classes_[request.priority];
  Share& share = priority.shares[request.tenant];
  if (share.line.empty()) {
    share.virtual_tokens = std::max(share.virtual_tokens, priority.virtual_tokens);
    priority.backlogged.emplace(share.virtual_tokens, request.tenant);
  }
  share.line.Add(arrival, now, KeyOf(request));
  share.tokens_waiting += request.prompt_tokens;
  ++priority.waiting;
  Totals& totals = totals_[request.tenant];
  ++totals.waiting;
  totals.tokens_waiting += request.prompt_tokens;
  tokens_waiting_ += request.prompt_tokens;
  rate_.SetBusy(true, now);
}

RequestQueue::Entry RequestQueue::Remove(uint64_t arrival, absl::Duration now) {
  const auto found = entries_.find(arrival);
  CHECK(found != entries_.end(), "arrival {} does not wait", arrival);
  Entry entry = std::move(found->second);
  entries_.erase(found);
  const WaitingRequest& request = entry.request;
  waiting_.erase(request.id);
  Class& priority = classes_.at(request.priority);
  Share& share = priority.shares.at(request.tenant);
  share.line.Remove(arrival);
  share.tokens_waiting -= request.prompt_tokens;
  if (share.line.empty()) priority.backlogged.erase({share.virtual_tokens, request.tenant});
  --priority.waiting;
  Totals& totals = totals_[request.tenant];
  --totals.waiting;
  totals.tokens_waiting -= request.prompt_tokens;
  tokens_waiting_ -= request.prompt_tokens;
  rate_.SetBusy(!waiting_.empty(), now);
  DropIfIdle(request.priority);
  return entry;
}

int64_t RequestQueue::KeyOf(const WaitingRequest& request) const {
  switch (options_.order) {
    case Order::kFifo:
      return 0;
    case Order::kDeadline:
      return absl::ToInt64Nanoseconds(request.deadline);  // infinite: the largest there is
    case Order::kShortest:
      return request.prompt_tokens + ExpectedOutput(request, request.output_tokens_max);
  }
  return 0;
}

int64_t RequestQueue::ExpectedOutput(const WaitingRequest& request, int64_t if_unknown) const {
  const double mean = totals_[request.tenant].output_mean;
  if (mean <= 0) return if_unknown;
  return std::min(request.output_tokens_max, static_cast<int64_t>(mean));
}

std::vector<TurnedAway> RequestQueue::TakeOverdue(absl::Duration now) {
  std::vector<TurnedAway> overdue;
  while (!entries_.empty() && now - entries_.begin()->second.since >= options_.wait_max) {
    const WaitingRequest request = Remove(entries_.begin()->first, now).request;
    overdue.push_back({.id = request.id,
                       .why = TurnAway(absl::StatusCode::kUnavailable, turned_away::kTooLong,
                                       fmt::format("it waited for {}, the limit",
                                                   absl::FormatDuration(options_.wait_max)),
                                       WaitFor(request.tenant, request.priority, now))});
  }
  return overdue;
}

// ---- being served ------------------------------------------------------------------------------

absl::Duration RequestQueue::Begin(const WaitingRequest& request, int64_t computed_tokens,
                                   absl::Duration now) {
  if (running_.contains(request.id)) return absl::ZeroDuration();
  Class& priority = classes_[request.priority];
  ++priority.running;  // first: it is not dropped when the last one has waited
  absl::Duration waited;
  if (const auto found = waiting_.find(request.id); found != waiting_.end()) {
    rate_.Count(now);
    waited = now - Remove(found->second, now).since;
  }
  Share& share = priority.shares[request.tenant];
  ++share.running;
  const double start = std::max(share.virtual_tokens, priority.virtual_tokens);
  priority.virtual_tokens = start;
  const int64_t ahead = ExpectedOutput(request, 0);
  SetVirtual(priority, request.tenant,
             start + Tokens(computed_tokens + ahead) / options_.tenants[request.tenant].weight);
  running_.emplace(request.id,
                   Running{.tenant = request.tenant, .priority = request.priority, .ahead = ahead});
  totals_[request.tenant].served.prompt_tokens += computed_tokens;
  return waited;
}

void RequestQueue::Serve(const RequestId& id, int64_t tokens) {
  const auto found = running_.find(id);
  if (found == running_.end()) return;
  Running& running = found->second;
  running.output_tokens += tokens;
  totals_[running.tenant].served.output_tokens += tokens;
  const int64_t counted = std::min(tokens, running.ahead);
  running.ahead -= counted;
  if (tokens == counted) return;
  Class& priority = classes_.at(running.priority);
  SetVirtual(priority, running.tenant,
             priority.shares.at(running.tenant).virtual_tokens +
                 Tokens(tokens - counted) / options_.tenants[running.tenant].weight);
}

void RequestQueue::Leave(const RequestId& id, absl::Duration now) {
  if (const auto found = waiting_.find(id); found != waiting_.end()) {
    (void)Remove(found->second, now);
    return;
  }
  const auto found = running_.find(id);
  if (found == running_.end()) return;
  const Running running = found->second;
  running_.erase(found);
  EndRunning(running);
}

void RequestQueue::EndRunning(const Running& running) {
  Class& priority = classes_.at(running.priority);
  Share& share = priority.shares.at(running.tenant);
  SetVirtual(
      priority, running.tenant,
      share.virtual_tokens - Tokens(running.ahead) / options_.tenants[running.tenant].weight);
  --share.running;
  --priority.running;
  Totals& totals = totals_[running.tenant];
  if (running.output_tokens > 0) {
    const double output = Tokens(running.output_tokens);
    totals.output_mean = totals.output_mean <= 0
                             ? output
                             : totals.output_mean + kMeanStep * (output - totals.output_mean);
  }
  DropIfIdle(running.priority);
}

void RequestQueue::SetVirtual(Class& priority, size_t tenant, double virtual_tokens) {
  Share& share = priority.shares.at(tenant);
  if (!share.line.empty()) {
    priority.backlogged.erase({share.virtual_tokens, tenant});
    priority.backlogged.emplace(virtual_tokens, tenant);
  }
  share.virtual_tokens = virtual_tokens;
}

// Where nobody waits and nobody runs, nobody has anything to catch up on.
void RequestQueue::DropIfIdle(int32_t priority) {
  const auto found = classes_.find(priority);
  if (found->second.waiting == 0 && found->second.running == 0) classes_.erase(found);
}

// ---- for people --------------------------------------------------------------------------------

std::vector<RequestQueue::LineState> RequestQueue::Lines(absl::Duration now) const {
  std::vector<LineState> lines;
  for (const auto& [priority, one] : classes_) {
    for (const auto& [tenant, share] : one.shares) {
      if (share.line.empty() && share.running == 0) continue;
      lines.push_back(
          {.priority = priority,
           .tenant = tenant,
           .waiting = share.line.size(),
           .tokens_waiting = share.tokens_waiting,
           .oldest = share.line.empty() ? absl::ZeroDuration() : now - share.line.oldest_since(),
           .running = share.running,
           .lead_tokens =
               (share.virtual_tokens - one.virtual_tokens) * options_.tenants[tenant].weight});
    }
  }
  return lines;
}

}  // namespace baton::router
