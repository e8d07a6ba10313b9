#pragma once

#include <map>
#include <string>
#include <string_view>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/telemetry/metrics.h"
#include "services/router/telemetry/model_metrics.h"

namespace baton::router {

// Every figure of the router. Thread-safe.
class RouterMetrics {
 public:
  RouterMetrics();

  // What becomes of the requests for this model: one that is served here, so that there are few.
  ModelMetrics& Of(const std::string& model);
  void Inflight(int requests) { inflight_.Set(requests); }
  // What was expected when it was placed, and what it took from then on.
  void TtftPredicted(absl::Duration expected, absl::Duration actual);
  void Placed(std::string_view reason);
  // A reason that a placement may have: shown as 0 until one has it, so that its first is a rise.
  void MayBePlaced(std::string_view reason);
  // The decode worker knew better: `to` is local or remote.
  void Turned(std::string_view to);
  void Resubmitted() { resubmitted_.Increment(); }
  void Migrated() { migrated_.Increment(); }
  void Ejected() { ejected_.Increment(); }
  void HttpAnswered(std::string_view route, int status);
  void HttpConnections(int open) { connections_.Set(open); }
  void Workers(std::string_view role, std::string_view state, int count);
  void WaitingSequences(int waiting) { waiting_.Set(waiting); }
  void KvIndexBlocks(size_t blocks) { index_blocks_.Set(static_cast<double>(blocks)); }

  // Where other figures of the router are registered.
  telemetry::Metrics& registry() { return metrics_; }
  // Prometheus text format.
  std::string Render() const { return metrics_.Text(); }

 private:
  telemetry::Histogram& TtftError(std::string_view came);
  telemetry::Counter& Decisions(std::string_view reason);
  telemetry::Counter& TurnedTo(std::string_view to);

  telemetry::Metrics metrics_;
  telemetry::Gauge& inflight_;
  telemetry::Gauge& connections_;
  telemetry::Gauge& index_blocks_;
  telemetry::Gauge& waiting_;
  telemetry::Counter& resubmitted_;
  telemetry::Counter& migrated_;
  telemetry::Counter& ejected_;
  absl::Mutex mutex_;
  std::map<std::string, ModelMetrics> models_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace baton::router
