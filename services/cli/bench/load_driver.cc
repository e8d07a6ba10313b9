#include "services/cli/bench/load_driver.h"

#include <algorithm>
#include <atomic>
#include <thread>

#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "common/base/clock.h"

namespace baton::cli {
namespace {

absl::Duration Now() { return Clock::Real().Monotonic(); }

// Shared by the threads of one load.
class Driver {
 public:
  Driver(const BenchOptions& options, sdk::Client& client, Workload& workload)
      : options_(options), client_(client), begun_(Now()), workload_(workload) {}

  LoadResult Run(const std::function<void(int, int)>& progress, const std::function<bool()>& stop);

 private:
  void OpenLoop();
  void ClosedLoop();
  // The next request, or nothing when the load is over. Thread-safe.
  bool TakeNext(PlannedRequest& request);
  // Runs one request that was due at `due`.
  void Send(const PlannedRequest& request, absl::Duration due);
  void Keep(Outcome outcome);
  bool Over(absl::Duration at) const {
    return stopped_ || (options_.requests == 0 && at >= options_.warmup + options_.duration);
  }

  const BenchOptions& options_;
  sdk::Client& client_;
  const absl::Duration begun_;
  std::atomic<bool> stopped_{false};
  std::atomic<int> inflight_{0}, sent_{0}, ended_{0};

  absl::Mutex mutex_;
  Workload& workload_ ABSL_GUARDED_BY(mutex_);
  int taken_ ABSL_GUARDED_BY(mutex_) = 0;
  std::vector<Outcome> outcomes_ ABSL_GUARDED_BY(mutex_);
  bool over_ ABSL_GUARDED_BY(mutex_) = false;
};

bool Driver::TakeNext(PlannedRequest& request) {
  absl::MutexLock lock(&mutex_);
  if (options_.requests > 0 && taken_ >= options_.requests) return false;
  ++taken_;
  request = workload_.Next();
  return true;
}

// Adds one piece of stream to the times.
void TakeText(const sdk::Event& event, absl::Duration now, absl::Duration due, absl::Duration& last,
              Outcome& outcome) {
  const int32_t tokens = static_cast<int32_t>(event.tokens.size());
  if (tokens == 0) return;
  int32_t rest = tokens;
  if (outcome.output_tokens == 0) {
    outcome.ttft = now - due;
    --rest;
  }
  for (int32_t i = 0; i < rest; ++i) outcome.gaps.push_back((now - last) / tokens);
  outcome.output_tokens += tokens;
  last = now;
}

void Driver::Send(const PlannedRequest& planned, absl::Duration due) {
  Outcome outcome{.begun = due - begun_, .late = Now() - due};
  outcome.counted = outcome.begun >= options_.warmup;
  sdk::Request request{
      .model = options_.client.model,
      .prompt = planned.prompt,
      .return_token_ids = true,
      .timeout = std::chrono::milliseconds(absl::ToInt64Milliseconds(options_.timeout))};
  request.sampling.set_max_tokens(planned.output_tokens);
  request.sampling.set_ignore_eos(true);
  request.sampling.set_temperature(static_cast<float>(options_.temperature));
  request.sampling.set_seed(planned.seed);
  ++sent_;
  sdk::Generation generation = client_.Generate(request);
  absl::Duration last = due;
  for (const sdk::Event& event : generation) {
    switch (event.kind) {
      case sdk::Event::Kind::kStarted:
        outcome.prompt_tokens = event.started.prompt_tokens();
        outcome.remote_prefill = !event.started.prefill_worker().empty();
        break;
      case sdk::Event::Kind::kText:
        TakeText(event, Now(), due, last, outcome);
        break;
      case sdk::Event::Kind::kFinished:
        if (event.finish == v1::FINISH_REASON_ERROR) {
          outcome.error = "failed";
          outcome.error_message = event.message;
        }
        break;
      case sdk::Event::Kind::kUsage:
        outcome.cached_tokens = event.usage.cached_tokens();
        break;
    }
  }
  outcome.e2e = Now() - due;
  if (generation.error()) {
    outcome.error = NameOf(generation.error().code);
    outcome.error_message = generation.error().message;
  }
  outcome.ok = outcome.error.empty();
  Keep(std::move(outcome));
}

void Driver::Keep(Outcome outcome) {
  ++ended_;
  absl::MutexLock lock(&mutex_);
  outcomes_.push_back(std::move(outcome));
}

void Driver::OpenLoop() {
  std::vector<std::thread> threads;
  PlannedRequest request;
  while (TakeNext(request) && !Over(request.arrival)) {
    const absl::Duration due = begun_ + request.arrival;
    while (!stopped_ && Now() < due) {
      absl::SleepFor(std::min(due - Now(), absl::Milliseconds(100)));
    }
    if (stopped_) break;
    if (inflight_ >= options_.inflight_max) {
      ++sent_;
      Keep({.counted = request.arrival >= options_.warmup,
            .error = "dropped",
            .begun = request.arrival});
      continue;
    }
    ++inflight_;
    threads.emplace_back([this, request, due] {
      Send(request, due);
      --inflight_;
    });
  }
  for (std::thread& thread : threads) thread.join();
}

void Driver::ClosedLoop() {
  std::vector<std::thread> threads;
  for (int i = 0; i < options_.concurrency; ++i) {
    threads.emplace_back([this] {
      PlannedRequest request;
      while (!Over(Now() - begun_) && TakeNext(request)) Send(request, Now());
    });
  }
  for (std::thread& thread : threads) thread.join();
}

LoadResult Driver::Run(const std::function<void(int, int)>& progress,
                       const std::function<bool()>& stop) {
  std::thread reporter([&] {
    absl::MutexLock lock(&mutex_);
    for (int ticks = 1; !mutex_.AwaitWithTimeout(absl::Condition(&over_), absl::Milliseconds(100));
         ++ticks) {
      if (stop()) stopped_ = true;
      if (ticks % 10 == 0) progress(sent_, ended_);
    }
  });
  options_.open_loop() ? OpenLoop() : ClosedLoop();
  const absl::Duration measured = Now() - begun_ - options_.warmup;
  {
    absl::MutexLock lock(&mutex_);
    over_ = true;
  }
  reporter.join();
  absl::MutexLock lock(&mutex_);
  return {std::move(outcomes_), std::max(measured, absl::ZeroDuration())};
}

}  // namespace

LoadResult RunLoad(const BenchOptions& options, sdk::Client& client, Workload& workload,
                   const std::function<void(int, int)>& progress,
                   const std::function<bool()>& stop) {
  return Driver(options, client, workload).Run(progress, stop);
}

}  // namespace baton::cli
