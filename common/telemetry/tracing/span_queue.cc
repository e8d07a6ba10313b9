#include "common/telemetry/tracing/span_queue.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "absl/time/clock.h"
#include "common/telemetry/logging.h"

namespace baton::telemetry {
namespace {

constexpr char kName[] = "baton_trace_spans_total";
constexpr char kHelp[] =
    "Spans by what became of them: exported, failed (the collector did not take them), dropped "
    "(more than wait at most)";

}  // namespace

SpanQueue::SpanQueue(const Options& options, std::unique_ptr<SpanSink> sink, Metrics& metrics)
    : options_(options),
      sink_(std::move(sink)),
      exported_(metrics.AddCounter(kName, kHelp, {{"outcome", "exported"}})),
      failed_(metrics.AddCounter(kName, kHelp, {{"outcome", "failed"}})),
      dropped_(metrics.AddCounter(kName, kHelp, {{"outcome", "dropped"}})),
      thread_([this] { Run(); }) {}

SpanQueue::~SpanQueue() { Close(); }

bool SpanQueue::Add(std::vector<Span> spans) {
  absl::MutexLock lock(&mutex_);
  if (closing_ || waiting_.size() + spans.size() > options_.spans_max) {
    dropped_.Increment(static_cast<double>(spans.size()));
    return false;
  }
  std::move(spans.begin(), spans.end(), std::back_inserter(waiting_));
  return true;
}

void SpanQueue::Close() {
  {
    absl::MutexLock lock(&mutex_);
    closing_ = true;
  }
  if (thread_.joinable()) thread_.join();
}

void SpanQueue::Run() {
  const auto some = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return closing_ || !waiting_.empty();
  };
  const auto many = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return closing_ || waiting_.size() >= options_.batch_spans;
  };
  absl::Time flush_until = absl::InfiniteFuture();
  while (absl::Now() < flush_until) {
    std::vector<Span> batch;
    {
      absl::MutexLock lock(&mutex_);
      mutex_.Await(absl::Condition(&some));
      mutex_.AwaitWithTimeout(absl::Condition(&many), options_.linger);
      if (closing_ && flush_until == absl::InfiniteFuture()) {
        flush_until = absl::Now() + options_.flush_timeout;
      }
      batch = TakeBatch();
      if (batch.empty()) return;  // closing, and nothing is left
    }
    if (Deliver(batch)) continue;
    // A collector that is gone is not asked all the time, and not at all when we are leaving.
    absl::MutexLock lock(&mutex_);
    if (mutex_.AwaitWithTimeout(absl::Condition(&closing_), options_.failure_pause)) break;
  }
  DropRest();
}

std::vector<Span> SpanQueue::TakeBatch() {
  const auto end =
      waiting_.begin() + static_cast<ptrdiff_t>(std::min(waiting_.size(), options_.batch_spans));
  std::vector<Span> batch(std::make_move_iterator(waiting_.begin()), std::make_move_iterator(end));
  waiting_.erase(waiting_.begin(), end);
  return batch;
}

// Said once when it begins to fail, and once when it is well again.
bool SpanQueue::Deliver(const std::vector<Span>& batch) {
  const absl::Status sent = sink_->Send(batch);
  (sent.ok() ? exported_ : failed_).Increment(static_cast<double>(batch.size()));
  if (!sent.ok() && !failing_) {
    LogWarning("tracing", "traces are lost: the collector does not take them",
               {{"why", MessageOf(sent)}});
  } else if (sent.ok() && failing_) {
    LogInfo("tracing", "the collector takes traces again");
  }
  failing_ = !sent.ok();
  return sent.ok();
}

void SpanQueue::DropRest() {
  absl::MutexLock lock(&mutex_);
  dropped_.Increment(static_cast<double>(waiting_.size()));
  waiting_.clear();
}

}  // namespace baton::telemetry
