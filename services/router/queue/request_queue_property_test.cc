// The queue against a naive model of the same rules: flat lists, looked through from end to end.
#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <set>

#include "services/router/intake/field_error.h"
#include "services/router/queue/request_queue.h"

namespace baton::router {
namespace {

class NaiveQueue {
 public:
  explicit NaiveQueue(RequestQueue::Options options)
      : options_(std::move(options)), mean_(options_.tenants.size()) {}

  struct Waiting {
    WaitingRequest request;
    absl::Duration since;
    double key = 0;
  };
  struct Running {
    WaitingRequest request;
    double charged = 0;  // output tokens that its tenant was charged with
    int64_t served = 0;
  };

  // The code of the outcome ("" for a place), and who had to go.
  std::pair<std::string, std::string> Enter(const WaitingRequest& request, absl::Duration now) {
    const Tenant& tenant = options_.tenants[request.tenant];
    const auto mine = [&](const Waiting& w) { return w.request.tenant == request.tenant; };
    const int64_t count = std::count_if(waiting_.begin(), waiting_.end(), mine);
    int64_t tokens = 0;
    for (const Waiting& w : waiting_) tokens += mine(w) ? w.request.prompt_tokens : 0;
    if (tenant.requests_max > 0 && count >= tenant.requests_max) return {"tenant_queue_full", ""};
    if (tenant.tokens_max > 0 && count > 0 && tokens + request.prompt_tokens > tenant.tokens_max) {
      return {"tenant_queue_full", ""};
    }
    if (WaitFor(request, now) > std::min(options_.wait_max, request.deadline - now)) {
      return {"queue_wait_too_long", ""};
    }
    std::string gone;
    if (!Fits(1, request.prompt_tokens)) {
      const auto [code, victim] = MakeRoom(request);
      if (!code.empty()) return {code, ""};
      gone = waiting_[victim].request.id.value();
      waiting_.erase(waiting_.begin() + victim);
      Forget();
    }
    auto& virtuals = virtuals_[request.priority];
    const bool idle = std::none_of(waiting_.begin(), waiting_.end(), [&](const Waiting& w) {
      return mine(w) && w.request.priority == request.priority;
    });
    if (idle)
      virtuals[request.tenant] = std::max(virtuals[request.tenant], last_[request.priority]);
    waiting_.push_back({request, now, KeyOf(request)});
    rate_.SetBusy(true, now);
    return {"", gone};
  }

  const Waiting* Front(absl::Duration now) const {
    if (waiting_.empty()) return nullptr;
    int32_t priority = 1000;
    for (const Waiting& w : waiting_) priority = std::min(priority, w.request.priority);
    const Waiting* best = nullptr;
    const auto rank = [&](const Waiting& w) {
      return std::pair(virtuals_.at(priority).at(w.request.tenant), w.request.tenant);
    };
    for (const Waiting& w : waiting_) {
      if (w.request.priority != priority) continue;
      if (best == nullptr || rank(w) < rank(*best)) best = &w;
    }
    // Of this tenant: the first that arrived if it has aged, else the smallest key.
    const Waiting* first = nullptr;
    for (const Waiting& w : waiting_) {
      if (w.request.priority != priority || w.request.tenant != best->request.tenant) continue;
      if (first == nullptr) {
        first = &w;
        if (now - w.since >= options_.aging) return first;
      } else if (w.key < first->key) {
        first = &w;
      }
    }
    return first;
  }

  void Begin(const WaitingRequest& request, int64_t computed, absl::Duration now) {
    if (std::erase_if(waiting_, [&](const Waiting& w) { return w.request.id == request.id; }) > 0) {
      rate_.Count(now);
      rate_.SetBusy(!waiting_.empty(), now);
    }
    double& last = last_[request.priority];
    double& mine = virtuals_[request.priority][request.tenant];
    mine = last = std::max(mine, last);
    Running running{.request = request, .charged = Expected(request, 0)};
    mine += (static_cast<double>(computed) + running.charged) / Weight(request);
    running_.push_back(running);
  }

  void Serve(const RequestId& id, int64_t tokens) {
    for (Running& r : running_) {
      if (r.request.id != id) continue;
      r.served += tokens;
      const double more = std::max(0.0, static_cast<double>(r.served) - r.charged);
      r.charged += more;
      virtuals_[r.request.priority][r.request.tenant] += more / Weight(r.request);
    }
  }

  void Leave(const RequestId& id, absl::Duration now) {
    std::erase_if(waiting_, [&](const Waiting& w) { return w.request.id == id; });
    rate_.SetBusy(!waiting_.empty(), now);
    for (size_t i = 0; i < running_.size(); ++i) {
      const Running r = running_[i];
      if (r.request.id != id) continue;
      const auto served = static_cast<double>(r.served);
      virtuals_[r.request.priority][r.request.tenant] -= (r.charged - served) / Weight(r.request);
      double& mean = mean_[r.request.tenant];
      if (r.served > 0) mean = mean <= 0 ? served : mean + 0.1 * (served - mean);
      running_.erase(running_.begin() + static_cast<int64_t>(i));
      break;
    }
    Forget();
  }

  std::vector<RequestId> TakeOverdue(absl::Duration now) {
    std::vector<RequestId> overdue;
    for (const Waiting& w : waiting_) {
      if (now - w.since >= options_.wait_max) overdue.push_back(w.request.id);
    }
    for (const RequestId& id : overdue) Leave(id, now);
    return overdue;
  }

  const std::vector<Waiting>& waiting() const { return waiting_; }
  const std::vector<Running>& running() const { return running_; }

 private:
  double Weight(const WaitingRequest& request) const {
    return options_.tenants[request.tenant].weight;
  }
  double Expected(const WaitingRequest& request, double if_unknown) const {
    const double mean = mean_[request.tenant];
    if (mean <= 0) return if_unknown;
    return std::min(static_cast<double>(request.output_tokens_max), std::floor(mean));
  }
  double KeyOf(const WaitingRequest& request) const {
    if (options_.order == RequestQueue::Order::kFifo) return 0;
    if (options_.order == RequestQueue::Order::kDeadline) {
      return absl::ToDoubleSeconds(request.deadline);
    }
    return static_cast<double>(request.prompt_tokens) +
           Expected(request, static_cast<double>(request.output_tokens_max));
  }
  // All that are more urgent, and of its own priority: as many of others for each of its tenant's,
  // itself included, as their weights say, but not more than there are.
  absl::Duration WaitFor(const WaitingRequest& request, absl::Duration now) const {
    const double per_second = rate_.PerSecond(now);
    if (per_second <= 0) return absl::ZeroDuration();
    double urgent = 0;
    double equals = 0;
    double mine = 1;
    std::set<size_t> others;
    for (const Waiting& w : waiting_) {
      if (w.request.priority < request.priority) ++urgent;
      if (w.request.priority != request.priority) continue;
      ++equals;
      if (w.request.tenant == request.tenant) ++mine;
      if (w.request.tenant != request.tenant) others.insert(w.request.tenant);
    }
    double weights = Weight(request);
    for (const size_t other : others) weights += options_.tenants[other].weight;
    return absl::Seconds((urgent + std::min(mine * weights / Weight(request), equals)) /
                         per_second);
  }
  bool Fits(int64_t requests, int64_t tokens) const {
    int64_t sum = tokens;
    for (const Waiting& w : waiting_) sum += w.request.prompt_tokens;
    const auto count = static_cast<int64_t>(waiting_.size());
    return count + requests <= options_.requests_max && (count == 0 || sum <= options_.tokens_max);
  }
  double Fill(int32_t priority, size_t tenant, int64_t more, int64_t more_tokens) const {
    int64_t count = more;
    int64_t tokens = more_tokens;
    for (const Waiting& w : waiting_) {
      if (w.request.priority != priority || w.request.tenant != tenant) continue;
      ++count;
      tokens += w.request.prompt_tokens;
    }
    return std::max(static_cast<double>(count) / static_cast<double>(options_.requests_max),
                    static_cast<double>(tokens) / static_cast<double>(options_.tokens_max)) /
           options_.tenants[tenant].weight;
  }
  // The place of the one that has to go, or a code.
  std::pair<std::string, int64_t> MakeRoom(const WaitingRequest& request) const {
    if (waiting_.empty()) return {"queue_full", 0};
    int32_t least = -1000;
    for (const Waiting& w : waiting_) least = std::max(least, w.request.priority);
    if (least < request.priority) return {"queue_full", 0};
    std::vector<std::tuple<double, double, size_t>> fills;  // fullest first, then as Front() goes
    for (size_t tenant = 0; tenant < options_.tenants.size(); ++tenant) {
      const bool waits = std::any_of(waiting_.begin(), waiting_.end(), [&](const Waiting& w) {
        return w.request.priority == least && w.request.tenant == tenant;
      });
      if (!waits) continue;
      fills.emplace_back(-Fill(least, tenant, 0, 0), virtuals_.at(least).at(tenant), tenant);
    }
    std::sort(fills.begin(), fills.end());
    const auto [minus_fill, virtual_tokens, fullest] = fills.front();
    if (least == request.priority) {
      if (fullest == request.tenant) {
        return {fills.size() > 1 ? "tenant_over_share" : "queue_full", 0};
      }
      if (Fill(least, request.tenant, 1, request.prompt_tokens) >= -minus_fill) {
        return {"queue_full", 0};
      }
    }
    for (auto i = static_cast<int64_t>(waiting_.size()) - 1; i >= 0; --i) {
      const WaitingRequest& victim = waiting_[i].request;
      if (victim.priority != least || victim.tenant != fullest) continue;
      if (!Fits(0, request.prompt_tokens - victim.prompt_tokens)) return {"queue_full", 0};
      return {"", i};
    }
    return {"nobody", 0};
  }
  // Where nobody is, nothing is remembered.
  void Forget() {
    for (int32_t priority = -3; priority <= 3; ++priority) {
      const auto here = [&](const auto& one) { return one.request.priority == priority; };
      if (std::any_of(waiting_.begin(), waiting_.end(), here)) continue;
      if (std::any_of(running_.begin(), running_.end(), here)) continue;
      virtuals_.erase(priority);
      last_.erase(priority);
    }
  }

  const RequestQueue::Options options_;
  std::vector<Waiting> waiting_;  // by arrival
  std::vector<Running> running_;
  std::map<int32_t, std::map<size_t, double>> virtuals_;
  std::map<int32_t, double> last_;
  std::vector<double> mean_;
  ServiceRate rate_;
};

// 0 … n - 1.
int64_t Draw(std::mt19937& random, int64_t n) { return static_cast<int64_t>(random() % n); }

RequestQueue::Options OptionsFor(std::mt19937& random) {
  RequestQueue::Options options;
  options.order = static_cast<RequestQueue::Order>(Draw(random, 3));
  options.aging = absl::Milliseconds(Draw(random, 3000));
  options.requests_max = 1 + Draw(random, 12);
  options.tokens_max = 1 + Draw(random, 400);
  options.wait_max = absl::Seconds(1 + Draw(random, 60));
  options.tenants.clear();
  const int64_t num_tenants = 1 + Draw(random, 4);
  for (int64_t i = 0; i < num_tenants; ++i) {
    options.tenants.push_back({.name = "t" + std::to_string(i),
                               .weight = 0.5 * (1 + Draw(random, 6)),
                               .requests_max = Draw(random, 3) == 0 ? 1 + Draw(random, 6) : 0,
                               .tokens_max = Draw(random, 3) == 0 ? 1 + Draw(random, 200) : 0});
  }
  return options;
}

class Race {
 public:
  explicit Race(uint32_t seed)
      : random_(seed), options_(OptionsFor(random_)), queue_(options_), naive_(options_) {}

  void Step() {
    now_ += absl::Milliseconds(Draw(random_, 200));
    switch (Draw(random_, 8)) {
      case 0:
      case 1:
      case 2:
        return Enter();
      case 3:
      case 4:
        return BeginFront();
      case 5:
        return BeginAtOnce();
      case 6:
        return Serve();
      case 7:
        return Draw(random_, 4) == 0 ? TakeOverdue() : Leave();
    }
  }

  void Compare() {
    ASSERT_EQ(queue_.num_waiting(), naive_.waiting().size());
    int64_t tokens = 0;
    for (const auto& w : naive_.waiting()) tokens += w.request.prompt_tokens;
    ASSERT_EQ(queue_.tokens_waiting(), tokens);
    ASSERT_LE(static_cast<int64_t>(queue_.num_waiting()), options_.requests_max);
    const WaitingRequest* front = queue_.Front(now_);
    const NaiveQueue::Waiting* expected = naive_.Front(now_);
    ASSERT_EQ(front == nullptr, expected == nullptr);
    if (front != nullptr) {
      ASSERT_EQ(front->id, expected->request.id);
    }
  }

 private:
  WaitingRequest Next() {
    return {.id = RequestId("r" + std::to_string(next_++)),
            .tenant = static_cast<size_t>(Draw(random_, std::ssize(options_.tenants))),
            .priority = static_cast<int32_t>(Draw(random_, 3)) - 1,
            .prompt_tokens = 1 + Draw(random_, 60),
            .output_tokens_max = 1 + Draw(random_, 60),
            .deadline = Draw(random_, 3) == 0 ? absl::InfiniteDuration()
                                              : now_ + absl::Seconds(Draw(random_, 40))};
  }
  void Enter() {
    const WaitingRequest request = Next();
    std::optional<TurnedAway> displaced;
    const absl::Status checked = queue_.Check(request.tenant, request.priority, now_);
    const absl::Status status = queue_.Enter(request, now_, displaced);
    const auto [code, gone] = naive_.Enter(request, now_);
    ASSERT_EQ(ErrorCodeOf(status), code) << status;
    ASSERT_EQ(displaced ? displaced->id.value() : "", gone);
    if (status.ok()) {
      ASSERT_EQ(checked, absl::OkStatus()) << "what is let in is not discouraged";
    }
  }
  void BeginFront() {
    const NaiveQueue::Waiting* front = naive_.Front(now_);
    if (front != nullptr) Begin(front->request);
  }
  void BeginAtOnce() {
    if (naive_.waiting().empty()) Begin(Next());
  }
  void Begin(const WaitingRequest request) {
    const int64_t computed = Draw(random_, request.prompt_tokens + 1);
    queue_.Begin(request, computed, now_);
    naive_.Begin(request, computed, now_);
  }
  RequestId Somebody() {
    const auto& waiting = naive_.waiting();
    const auto& running = naive_.running();
    const size_t all = waiting.size() + running.size();
    if (all == 0) return RequestId("nobody");
    const auto i = static_cast<size_t>(Draw(random_, static_cast<int64_t>(all)));
    return i < waiting.size() ? waiting[i].request.id : running[i - waiting.size()].request.id;
  }
  void Serve() {
    const RequestId id = Somebody();
    const int64_t tokens = Draw(random_, 20);
    queue_.Serve(id, tokens);
    naive_.Serve(id, tokens);
  }
  void Leave() {
    const RequestId id = Somebody();
    queue_.Leave(id, now_);
    naive_.Leave(id, now_);
  }
  void TakeOverdue() {
    now_ += absl::Seconds(Draw(random_, 40));
    const std::vector<TurnedAway> overdue = queue_.TakeOverdue(now_);
    const std::vector<RequestId> expected = naive_.TakeOverdue(now_);
    ASSERT_EQ(overdue.size(), expected.size());
    for (size_t i = 0; i < overdue.size(); ++i) ASSERT_EQ(overdue[i].id, expected[i]);
  }

  std::mt19937 random_;
  const RequestQueue::Options options_;
  RequestQueue queue_;
  NaiveQueue naive_;
  absl::Duration now_ = absl::Seconds(1);
  int next_ = 0;
};

TEST(RequestQueuePropertyTest, DoesWhatTheNaiveModelDoes) {
  for (uint32_t seed = 0; seed < 600; ++seed) {
    Race race(seed);
    for (int step = 0; step < 300; ++step) {
      race.Step();
      race.Compare();
      ASSERT_FALSE(testing::Test::HasFatalFailure()) << "seed " << seed << ", step " << step;
    }
  }
}

}  // namespace
}  // namespace baton::router
