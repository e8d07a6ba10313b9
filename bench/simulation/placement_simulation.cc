// The router's own code against model workers: what each placement policy makes of a trace.
//
//   placement_simulation --trace chat --workers 16 --prefill 4 --rate 20 --policy cost --policy …
//   placement_simulation --mooncake trace.jsonl …

#include <ctime>
#include <fstream>
#include <map>

#include "CLI/CLI.hpp"
#include "bench/simulation/model_worker.h"
#include "bench/simulation/trace.h"
#include "common/base/check.h"
#include "common/telemetry/logging.h"
#include "common/text/fuzz_tokenizers.h"
#include "fmt/format.h"
#include "nlohmann/json.hpp"
#include "services/router/dispatch/dispatcher.h"

namespace baton::simulation {
namespace {

struct Flags {
  std::vector<std::string> traces = {"chat", "agent", "rag", "batch"};
  std::string mooncake;
  std::vector<std::string> policies;
  std::vector<int> prefills = {4};
  int workers = 16;
  double rate = 20;
  double seconds = 60;
  double ttft_ms = 1000;
  double itl_ms = 30;
  double itl_target_ms = 0;
  std::string json;
};

struct Sink : router::EventSink {
  explicit Sink(EventQueue& queue) : queue(queue), sent(queue.Monotonic()) {}
  bool OnEvents(std::vector<router::Event> events) override {
    for (const router::Event& event : events) {
      if (const auto* piece = std::get_if<router::Piece>(&event); piece && !piece->tokens.empty()) {
        if (tokens == 0) first = queue.Monotonic();
        last = queue.Monotonic();
        tokens += static_cast<int>(piece->tokens.size());
      }
      completed = completed || std::holds_alternative<router::Completed>(event);
      over = over || completed || std::holds_alternative<router::Failed>(event);
    }
    return true;
  }
  EventQueue& queue;
  absl::Duration sent, first, last;
  int tokens = 0;
  bool completed = false;
  bool over = false;
};

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

class Link : public router::DecodeLink {
 public:
  Link(EventQueue& queue, WorkerId id, ModelWorker& worker, ModelWorker::Find find)
      : queue_(queue), id_(std::move(id)), worker_(worker), find_(std::move(find)) {}
  const WorkerId& worker() const override { return id_; }
  bool connected() override { return true; }
  bool Send(v1::DecodeCommand command) override {
    queue_.After(absl::Microseconds(300), "command", [this, command = std::move(command)] {
      if (command.has_submit()) worker_.Submit(command.submit(), find_);
      if (command.has_cancel()) worker_.Cancel(command.cancel().request_id());
    });
    return true;
  }
  void Close() override { listener->OnBroken(*this, absl::CancelledError("the run is over")); }
  router::DecodeLinkListener* listener = nullptr;

 private:
  EventQueue& queue_;
  const WorkerId id_;
  ModelWorker& worker_;
  const ModelWorker::Find find_;
};

const router::ServedModel& Model() {
  static const auto& model = *new router::ServedModel(
      "model", text::FuzzTokenizer(text::ByteLevelJson()), nullptr, NotFound("no template"));
  return model;
}

struct Row {
  std::string trace, policy;
  int prefill = 0, decode = 0, requests = 0, completed = 0;
  double good_percent = 0, goodput = 0;
  double ttft_p50 = 0, ttft_p95 = 0, itl_p50 = 0, itl_p95 = 0, hit_percent = 0, router_us = 0;
};

double Quantile(std::vector<double>& values, double q) {
  if (values.empty()) return 0;
  const auto at = values.begin() + static_cast<int64_t>(q * (values.size() - 1));
  std::nth_element(values.begin(), at, values.end());
  return *at;
}

// A medium model on one accelerator, in round figures.
WorkerSpec Spec() {
  return {.fit = {.base_ms = 8,
                  .per_prefill_token_ms = 0.06,
                  .per_decode_ms = 0.08,
                  .per_context_token_ms = 0.00002}};
}

Row Simulate(const Flags& flags, const std::string& name, const std::vector<TraceRequest>& trace,
             const std::string& policy, int prefills) {
  EventQueue queue(1);
  router::RouterMetrics metrics;
  router::PolicyOptions options;
  options.cost.itl_target_ms = flags.itl_target_ms;
  auto policies = router::PolicyTable::Make(policy, {}, options);
  CHECK_OK(policies.status());
  router::Roster roster({}, queue);
  std::map<std::string, std::unique_ptr<ModelWorker>> workers;
  const ModelWorker::Find find = [&](const std::string& id) {
    const auto found = workers.find(id);
    return found == workers.end() ? nullptr : found->second.get();
  };
  Meter meter;
  router::Dispatcher dispatcher(
      {.inflight_requests_max = 1 << 20,
       .queue = {.requests_max = 1 << 20, .tokens_max = int64_t{1} << 40}},
      **policies, roster, metrics,
      [&](const WorkerId& id, const std::string& address, router::DecodeLinkListener& listener) {
        ModelWorker& worker = *workers.at(address);
        auto link = std::make_shared<Link>(queue, id, worker, find);
        link->listener = &listener;
        worker.set_link([&meter, &listener, link = link.get()](const v1::DecodeEvent& event) {
          meter.Run([&] { listener.OnEvent(*link, event); });
        });
        return link;
      },
      queue);
  roster.set_listener(nullptr);  // workers join before they can be found
  for (int i = 0; i < flags.workers; ++i) {
    const std::string id = fmt::format("{}-{}", i < prefills ? "prefill" : "decode", i);
    workers[id] = std::make_unique<ModelWorker>(queue, roster, Spec(), i >= prefills, id);
  }
  roster.set_listener(&dispatcher);
  for (const auto& [id, worker] : workers) {
    const auto profile = roster.ProfileOf(WorkerId(id));
    if (profile->role == router::WorkerRole::kDecode) dispatcher.OnJoined(*profile);
  }
  std::function<void()> tick = [&] {
    meter.Run([&] { dispatcher.Tick(); });
    queue.After(absl::Milliseconds(50), "tick", tick);
  };
  tick();
  std::vector<std::shared_ptr<Sink>> sinks;
  size_t next = 0;
  std::function<void()> send = [&] {
    const TraceRequest& request = trace[next];
    router::AcceptedRequest accepted;
    accepted.id = RequestId(fmt::format("r-{}", next));
    accepted.model = &Model();
    accepted.prompt = PromptOf(request);
    accepted.sampling.max_tokens = request.output_tokens;
    accepted.sampling.seed = 1;
    accepted.user = request.user;
    accepted.accepted_at = queue.Monotonic();
    sinks.push_back(std::make_shared<Sink>(queue));
    meter.Run([&] { dispatcher.Start(std::move(accepted), sinks.back()); });
    if (++next < trace.size()) {
      queue.After(trace[next].at - trace[next - 1].at, "request", send);
    }
  };
  queue.After(absl::Seconds(1), "request", send);
  const absl::Duration limit = absl::Seconds(flags.seconds * 4 + 60);
  size_t over = 0;
  while (queue.Monotonic() < limit && over < trace.size()) {
    queue.RunNext();
    while (over < sinks.size() && sinks[over]->over) ++over;
  }
  Row row{.trace = name,
          .policy = policy,
          .prefill = prefills,
          .decode = flags.workers - prefills,
          .requests = static_cast<int>(trace.size())};
  std::vector<double> ttfts, itls;
  int good = 0;
  absl::Duration end;
  for (const auto& sink : sinks) {
    if (!sink->completed) continue;
    ++row.completed;
    end = std::max(end, sink->last);
    ttfts.push_back(absl::ToDoubleMilliseconds(sink->first - sink->sent));
    if (sink->tokens > 1) {
      itls.push_back(absl::ToDoubleMilliseconds(sink->last - sink->first) / (sink->tokens - 1));
    }
    good += ttfts.back() <= flags.ttft_ms && (sink->tokens < 2 || itls.back() <= flags.itl_ms);
  }
  int64_t prompt = 0, cached = 0;
  for (const auto& [id, worker] : workers) {
    prompt += worker->prompt_tokens();
    cached += worker->cached_tokens();
  }
  const double span = absl::ToDoubleSeconds(trace.back().at - trace.front().at);
  row.good_percent = 100.0 * good / row.requests;
  row.goodput = good / std::max(span, 1e-9);
  row.ttft_p50 = Quantile(ttfts, 0.5);
  row.ttft_p95 = Quantile(ttfts, 0.95);
  row.itl_p50 = Quantile(itls, 0.5);
  row.itl_p95 = Quantile(itls, 0.95);
  row.hit_percent = prompt == 0 ? 0 : 100.0 * static_cast<double>(cached) / prompt;
  row.router_us = meter.microseconds() / row.requests;
  dispatcher.Shutdown();
  roster.set_listener(nullptr);
  return row;
}

void Print(const Row& row) {
  fmt::print(
      "| {} | {} | {}P {}D | {:.1f} % | {:.1f} | {:.0f} / {:.0f} | {:.1f} / {:.1f} | {:.0f} % | "
      "{:.0f} |\n",
      row.trace, row.policy, row.prefill, row.decode, row.good_percent, row.goodput, row.ttft_p50,
      row.ttft_p95, row.itl_p50, row.itl_p95, row.hit_percent, row.router_us);
  std::fflush(stdout);
}

nlohmann::json ToJson(const Row& row) {
  return {{"trace", row.trace},
          {"policy", row.policy},
          {"prefill_workers", row.prefill},
          {"decode_workers", row.decode},
          {"requests", row.requests},
          {"completed", row.completed},
          {"good_percent", row.good_percent},
          {"goodput_per_s", row.goodput},
          {"ttft_ms_p50", row.ttft_p50},
          {"ttft_ms_p95", row.ttft_p95},
          {"itl_ms_p50", row.itl_p50},
          {"itl_ms_p95", row.itl_p95},
          {"hit_percent", row.hit_percent},
          {"router_us_per_request", row.router_us}};
}

int Main(const Flags& flags, const std::string& command) {
  fmt::print(
      "| trace | policy | workers | within SLO | goodput /s | TTFT ms p50 / p95 | ITL ms p50 / p95 "
      "| cached | router µs |\n| --- | --- | --- | --- | --- | --- | --- | --- | --- |\n");
  nlohmann::json rows = nlohmann::json::array();
  std::vector<std::pair<std::string, std::vector<TraceRequest>>> traces;
  if (!flags.mooncake.empty()) {
    auto read = ReadMooncake(flags.mooncake);
    CHECK_OK(read.status());
    CHECK(!read->empty(), "{} is empty", flags.mooncake);
    traces.emplace_back("mooncake", *std::move(read));
  } else {
    for (const std::string& wanted : flags.traces) {
      const size_t colon = wanted.find(':');
      const double rate =
          colon == std::string::npos ? flags.rate : std::stod(wanted.substr(colon + 1));
      const std::string shape = wanted.substr(0, colon);
      traces.emplace_back(shape, MakeTrace(shape, rate, absl::Seconds(flags.seconds), 1));
    }
  }
  for (const auto& [name, trace] : traces) {
    for (const int prefills : flags.prefills) {
      for (const std::string& policy : flags.policies) {
        const Row row = Simulate(flags, name, trace, policy, prefills);
        Print(row);
        rows.push_back(ToJson(row));
      }
    }
  }
  if (flags.json.empty()) return 0;
  std::ofstream(flags.json)
      << nlohmann::json{{"command", command},
                        {"slo", {{"ttft_ms", flags.ttft_ms}, {"itl_ms", flags.itl_ms}}},
                        {"requests_per_s", flags.rate},
                        {"rows", rows}}
             .dump(1)
      << "\n";
  return 0;
}

}  // namespace
}  // namespace baton::simulation

int main(int argc, char** argv) {
  baton::telemetry::InitLogging("simulation", baton::telemetry::Level::kError,
                                baton::telemetry::Format::kText);
  baton::simulation::Flags flags;
  for (const std::string_view name : baton::router::PolicyNames())
    flags.policies.emplace_back(name);
  CLI::App app("Placement policies against model workers.");
  app.add_option("--trace", flags.traces,
                 "chat, agent, rag, batch; with :N, so many requests a second");
  app.add_option("--mooncake", flags.mooncake, "a trace file instead");
  app.add_option("--policy", flags.policies, "default: all");
  app.add_option("--workers", flags.workers, "in all");
  app.add_option("--prefill", flags.prefills, "of these, prefill workers; several: one run each");
  app.add_option("--rate", flags.rate, "requests a second");
  app.add_option("--seconds", flags.seconds, "of trace");
  app.add_option("--ttft-ms", flags.ttft_ms, "the SLO");
  app.add_option("--itl-ms", flags.itl_ms, "the SLO, of a request's mean");
  app.add_option("--itl-target-ms", flags.itl_target_ms, "what `cost` is told (router.itl_target)");
  app.add_option("--json", flags.json, "written there as well");
  CLI11_PARSE(app, argc, argv);
  std::string command = "placement_simulation";
  for (int i = 1; i < argc; ++i) command += std::string(" ") + argv[i];
  return baton::simulation::Main(flags, command);
}
