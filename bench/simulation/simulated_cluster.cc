#include "bench/simulation/simulated_cluster.h"

#include <ctime>
#include <optional>
#include <tuple>

#include "common/base/check.h"
#include "common/text/fuzz_tokenizers.h"
#include "fmt/format.h"
#include "services/router/dispatch/dispatcher.h"
#include "services/router/http/debug_page.h"

namespace baton::simulation {
namespace {

// CPU time spent in the router's code.
class Meter {
 public:
  template <typename F>
  auto Run(F&& f) {
    struct Add {
      Meter& meter;
      double began = Now();
      ~Add() { meter.spent_us_ += Now() - began; }
    } add{*this};
    return f();
  }
  double microseconds() const { return spent_us_; }

 private:
  static double Now() {
    timespec now{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return static_cast<double>(now.tv_sec) * 1e6 + static_cast<double>(now.tv_nsec) / 1e3;
  }
  double spent_us_ = 0;
};

// The client of one request, as far from the router as the router is from the workers.
struct Client : router::EventSink {
  Client(EventQueue& queue, absl::Duration hop) : queue(queue), hop(hop), sent(queue.Monotonic()) {}
  bool OnEvents(std::vector<router::Event> events) override {
    for (const router::Event& event : events) {
      if (const auto* piece = std::get_if<router::Piece>(&event); piece && !piece->tokens.empty()) {
        if (tokens == 0) first = queue.Monotonic() + hop;
        last = queue.Monotonic() + hop;
        tokens += static_cast<int>(piece->tokens.size());
      }
      completed = completed || std::holds_alternative<router::Completed>(event);
      over = over || completed || std::holds_alternative<router::Failed>(event);
    }
    return true;
  }
  EventQueue& queue;
  const absl::Duration hop, sent;
  absl::Duration first, last;
  int tokens = 0;
  bool completed = false;
  bool over = false;
};

class Link : public router::DecodeLink {
 public:
  Link(EventQueue& queue, int router, ModelWorker& worker, absl::Duration hop)
      : queue_(queue), router_(router), id_(worker.id()), worker_(worker), hop_(hop) {}
  const WorkerId& worker() const override { return id_; }
  bool connected() override { return true; }
  bool Send(v1::DecodeCommand command) override {
    queue_.After(hop_, "command", [this, command = std::move(command)] {
      if (command.has_submit()) worker_.Submit(router_, command.submit());
      if (command.has_cancel()) worker_.Cancel(command.cancel().request_id());
    });
    return true;
  }
  void Close() override { listener->OnBroken(*this, absl::CancelledError("the run is over")); }
  router::DecodeLinkListener* listener = nullptr;

 private:
  EventQueue& queue_;
  const int router_;
  const WorkerId id_;
  ModelWorker& worker_;
  const absl::Duration hop_;
};

const router::ServedModel& Model() {
  static const auto& model = *new router::ServedModel(
      "model", text::FuzzTokenizer(text::ByteLevelJson()), nullptr, NotFound("no template"));
  return model;
}

using Workers = std::map<std::string, std::unique_ptr<ModelWorker>>;

// One router with its own picture of the workers.
class ModelRouter {
 public:
  ModelRouter(EventQueue& queue, const ClusterOptions& options, int number, Workers& workers,
              Meter& meter)
      : queue_(queue),
        meter_(meter),
        number_(number),
        roster_({.seed = static_cast<uint64_t>(number)}, queue),
        policies_(Policies(options, number)),
        dispatcher_(
            {.inflight_requests_max = 1 << 20,
             .queue = {.requests_max = 1 << 20, .tokens_max = int64_t{1} << 40}},
            *policies_, roster_, metrics_,
            [&, number](const WorkerId&, const std::string& address,
                        router::DecodeLinkListener& listener) {
              return Open(*workers.at(address), number, options.hops.message, listener);
            },
            queue) {
    // Workers join before their links can be opened.
    roster_.set_listener(nullptr);
    for (const auto& [id, worker] : workers) CHECK(worker->Join(roster_) == number);
    roster_.set_listener(&dispatcher_);
    for (const auto& [id, worker] : workers) {
      if (worker->decode()) dispatcher_.OnJoined(*roster_.ProfileOf(WorkerId(id)));
    }
    Tick();
  }
  ~ModelRouter() {
    dispatcher_.Shutdown();
    roster_.set_listener(nullptr);
  }

  // A worker comes while all of this is at work.
  void Welcome(ModelWorker& worker) { CHECK(worker.Join(roster_) == number_); }
  RouterPages Pages() const {
    return {router::DebugClusterJson(roster_, dispatcher_, /*decisions=*/0), metrics_.Render()};
  }

  void Start(router::AcceptedRequest request, std::shared_ptr<Client> client) {
    meter_.Run([&] { dispatcher_.Start(std::move(request), std::move(client)); });
  }

 private:
  static std::unique_ptr<router::PolicyTable> Policies(const ClusterOptions& options, int number) {
    router::PolicyOptions policy;
    policy.cost.itl_target_ms = options.itl_target_ms;
    policy.seed = static_cast<uint64_t>(number) + 1;
    auto made = router::PolicyTable::Make(options.policy, {}, policy);
    CHECK_OK(made.status());
    return *std::move(made);
  }
  std::shared_ptr<router::DecodeLink> Open(ModelWorker& worker, int number, absl::Duration hop,
                                           router::DecodeLinkListener& listener) {
    auto link = std::make_shared<Link>(queue_, number, worker, hop);
    link->listener = &listener;
    worker.set_link(number, [this, &listener, link = link.get()](const v1::DecodeEvent& event) {
      meter_.Run([&] { listener.OnEvent(*link, event); });
    });
    return link;
  }
  void Tick() {
    meter_.Run([&] { dispatcher_.Tick(); });
    queue_.After(absl::Milliseconds(50), "tick", [this] { Tick(); });
  }

  EventQueue& queue_;
  Meter& meter_;
  const int number_;
  router::RouterMetrics metrics_;
  router::Roster roster_;
  const std::unique_ptr<router::PolicyTable> policies_;
  router::Dispatcher dispatcher_;
};

// Adds up how unevenly sequences lie on the decode workers.
class Scales {
 public:
  void Weigh(const Workers& workers) {
    int most = 0, all = 0, count = 0;
    for (const auto& [id, worker] : workers) {
      if (!worker->decode()) continue;
      most = std::max(most, worker->sequences());
      all += worker->sequences();
      ++count;
    }
    most_ += most;
    mean_ += static_cast<double>(all) / std::max(count, 1);
  }
  double busiest() const { return mean_ > 0 ? most_ / mean_ : 0; }

 private:
  double most_ = 0, mean_ = 0;
};

// The workers that are paid for, and how they come and go.
class Staff {
 public:
  Staff(EventQueue& queue, const ClusterOptions& options, Workers& workers)
      : queue_(queue), options_(options), workers_(workers) {
    for (const WorkerSpec& spec : options.workers) Hire(spec);
  }

  Pools pools() const { return pools_; }
  // New ones come to all of these; they are made after the first workers.
  void Begin(const std::vector<std::unique_ptr<ModelRouter>>& routers) {
    routers_ = &routers;
    if (options_.scaling.scaler != nullptr) Look();
  }
  void AddTo(RunResult& result) const {
    result.workers_max = paid_max_;
    result.scalings = scalings_;
    for (const auto& [id, stay] : stays_) {
      const absl::Duration until = stay.until.value_or(queue_.Monotonic());
      (stay.decode ? result.decode_seconds : result.prefill_seconds) +=
          absl::ToDoubleSeconds(until - stay.from);
    }
  }

 private:
  struct Stay {
    bool decode = true;
    absl::Duration from;
    bool leaving = false;
    std::optional<absl::Duration> until;
  };

  ModelWorker* Hire(const WorkerSpec& spec) {
    const ModelWorker::Find find = [this](const std::string& id) {
      const auto found = workers_.find(id);
      return found == workers_.end() ? nullptr : found->second.get();
    };
    if (!stays_.contains(spec.id)) Pay(spec);
    auto& worker = workers_[spec.id];
    worker = std::make_unique<ModelWorker>(queue_, spec, options_.hops, find);
    return worker.get();
  }
  void Pay(const WorkerSpec& spec) {
    stays_[spec.id] = {.decode = spec.decode, .from = queue_.Monotonic()};
    ++(spec.decode ? pools_.decode : pools_.prefill);
    paid_max_ = std::max(paid_max_, ++paid_);
  }

  void Look() {
    std::vector<RouterPages> pages;
    for (const auto& router : *routers_) pages.push_back(router->Pages());
    const Pools wanted = options_.scaling.scaler->Decide(pages, pools_, queue_.Monotonic());
    Resize(/*decode=*/false, wanted.prefill, pools_.prefill);
    Resize(/*decode=*/true, wanted.decode, pools_.decode);
    queue_.After(options_.scaling.every, "scaling", [this] { Look(); });
  }
  void Resize(bool decode, int wanted, const int& now) {
    scalings_ += wanted != now ? 1 : 0;
    while (now < wanted) Ask(decode);
    while (now > wanted) Release(decode);
  }
  void Ask(bool decode) {
    WorkerSpec spec = decode ? options_.scaling.decode : options_.scaling.prefill;
    spec.id = fmt::format("{}-{}", decode ? "decode" : "prefill", 1000 + asked_++);
    Pay(spec);
    queue_.After(options_.scaling.start_up, "worker starts", [this, spec] {
      if (stays_.at(spec.id).leaving) return;  // nobody waits for it any more
      ModelWorker* worker = Hire(spec);
      for (const auto& router : *routers_) router->Welcome(*worker);
    });
  }
  // Whoever has least to do; one that still starts goes first.
  void Release(bool decode) {
    std::string choice;
    int least = 0;
    for (const auto& [id, stay] : stays_) {
      if (stay.decode != decode || stay.leaving) continue;
      const auto worker = workers_.find(id);
      const int busy = worker == workers_.end() ? -1 : worker->second->sequences();
      if (choice.empty() || busy < least) std::tie(choice, least) = std::pair(id, busy);
    }
    stays_.at(choice).leaving = true;
    --(decode ? pools_.decode : pools_.prefill);
    if (least < 0) return Gone(choice);
    workers_.at(choice)->Drain();
    AwaitEmpty(choice, /*looks_empty=*/0);
  }
  // Twice in a row: what is on its way to it has come by then.
  void AwaitEmpty(const std::string& id, int looks_empty) {
    ModelWorker& worker = *workers_.at(id);
    looks_empty = worker.sequences() == 0 ? looks_empty + 1 : 0;
    if (looks_empty == 2) {
      worker.Leave();
      return Gone(id);
    }
    queue_.After(absl::Seconds(1), "drains",
                 [this, id, looks_empty] { AwaitEmpty(id, looks_empty); });
  }
  void Gone(const std::string& id) {
    stays_.at(id).until = queue_.Monotonic();
    --paid_;
  }

  EventQueue& queue_;
  const ClusterOptions& options_;
  Workers& workers_;
  const std::vector<std::unique_ptr<ModelRouter>>* routers_ = nullptr;
  std::map<std::string, Stay> stays_;
  Pools pools_;
  int asked_ = 0, paid_ = 0, paid_max_ = 0, scalings_ = 0;
};

class Run {
 public:
  Run(const ClusterOptions& options, const std::vector<TraceRequest>& trace)
      : options_(options), trace_(trace), staff_(queue_, options, workers_) {
    for (int i = 0; i < options.routers; ++i) {
      routers_.push_back(std::make_unique<ModelRouter>(queue_, options, i, workers_, meter_));
    }
    staff_.Begin(routers_);
  }

  RunResult Play() {
    queue_.After(absl::Seconds(1), "request", [this] { SendNext(); });
    Weigh();
    size_t over = 0;
    while (over < trace_.size()) {
      if (clients_.size() == trace_.size() && queue_.Monotonic() > last_sent_ + options_.patience) {
        break;
      }
      queue_.RunNext();
      while (over < clients_.size() && clients_[over]->over) ++over;
    }
    return Result();
  }

 private:
  void SendNext() {
    const size_t number = clients_.size();
    const TraceRequest& request = trace_[number];
    clients_.push_back(std::make_shared<Client>(queue_, options_.hops.message));
    last_sent_ = queue_.Monotonic();
    queue_.After(options_.hops.message, "at the router", [this, number] { Arrive(number); });
    if (number + 1 == trace_.size()) return;
    queue_.After(trace_[number + 1].at - request.at, "request", [this] { SendNext(); });
  }

  void Arrive(size_t number) {
    const TraceRequest& request = trace_[number];
    router::AcceptedRequest accepted;
    accepted.id = RequestId(fmt::format("r-{}", number));
    accepted.model = &Model();
    accepted.prompt = cli::PromptOf(request, {});
    accepted.sampling.max_tokens = request.output_tokens;
    accepted.sampling.seed = 1;
    accepted.user = request.user;
    accepted.accepted_at = queue_.Monotonic();
    routers_[number % routers_.size()]->Start(std::move(accepted), clients_[number]);
  }

  void Weigh() {
    scales_.Weigh(workers_);
    queue_.After(absl::Milliseconds(10), "weigh", [this] { Weigh(); });
  }

  RunResult Result() const {
    RunResult result{.router_us = meter_.microseconds(), .busiest = scales_.busiest()};
    for (const auto& client : clients_) {
      result.outcomes.push_back({.completed = client->completed,
                                 .sent = client->sent,
                                 .ttft = client->first - client->sent,
                                 .e2e = client->last - client->sent,
                                 .tokens = client->tokens});
    }
    int64_t prompt = 0, cached = 0;
    for (const auto& [id, worker] : workers_) {
      prompt += worker->prompt_tokens();
      cached += worker->cached_tokens();
    }
    if (prompt > 0) {
      result.hit_percent = 100.0 * static_cast<double>(cached) / static_cast<double>(prompt);
    }
    staff_.AddTo(result);
    return result;
  }

  const ClusterOptions& options_;
  const std::vector<TraceRequest>& trace_;
  EventQueue queue_{1};
  Meter meter_;
  Scales scales_;
  Workers workers_;
  Staff staff_;
  std::vector<std::unique_ptr<ModelRouter>> routers_;
  std::vector<std::shared_ptr<Client>> clients_;
  absl::Duration last_sent_;
};

}  // namespace

RunResult Simulate(const ClusterOptions& options, const std::vector<TraceRequest>& trace) {
  return Run(options, trace).Play();
}

}  // namespace baton::simulation
