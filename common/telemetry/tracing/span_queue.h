#pragma once

#include <deque>
#include <memory>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/telemetry/metrics.h"
#include "common/telemetry/tracing/span_sink.h"

namespace baton::telemetry {

// Spans on their way out: bounded, and never waited for. A thread of its own brings them to the
// sink in batches; what a sink does not take, or what does not fit, is dropped and counted in
// baton_trace_spans_total by outcome: exported, failed (the sink said no), dropped (no room).
class SpanQueue {
 public:
  struct Options {
    size_t spans_max = 16384;                         // waiting
    size_t batch_spans = 512;                         // at most, in one Send()
    absl::Duration linger = absl::Milliseconds(200);  // for a batch to fill
    absl::Duration failure_pause = absl::Seconds(1);  // after a Send() that failed
    absl::Duration flush_timeout = absl::Seconds(1);  // when closing; and one Send() more
  };
  // `metrics` outlives this.
  SpanQueue(const Options& options, std::unique_ptr<SpanSink> sink, Metrics& metrics);
  ~SpanQueue();

  // All of them or none, so that no trace goes out in part. Takes a leaf lock; any thread. False:
  // dropped.
  bool Add(std::vector<Span> spans) ABSL_LOCKS_EXCLUDED(mutex_);
  // Sends what waits, for as long as flush_timeout and while the sink takes it, and drops the rest.
  // Nothing is taken afterwards. Once; any thread.
  void Close() ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  void Run() ABSL_LOCKS_EXCLUDED(mutex_);
  std::vector<Span> TakeBatch() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool Deliver(const std::vector<Span>& batch);
  void DropRest() ABSL_LOCKS_EXCLUDED(mutex_);

  const Options options_;
  const std::unique_ptr<SpanSink> sink_;  // Run()'s thread's
  Counter& exported_;
  Counter& failed_;
  Counter& dropped_;
  bool failing_ = false;  // the last Send(); Run()'s thread's
  absl::Mutex mutex_;
  std::deque<Span> waiting_ ABSL_GUARDED_BY(mutex_);
  bool closing_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace baton::telemetry
