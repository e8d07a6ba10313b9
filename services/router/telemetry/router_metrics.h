#pragma once

#include <string>
#include <string_view>

#include "absl/time/time.h"
#include "common/telemetry/metrics.h"

namespace baton::router {

// Every figure of the router. Thread-safe.
class RouterMetrics {
 public:
  RouterMetrics();

  // How a request ended: completed, cancelled or failed.
  void RequestEnded(std::string_view outcome, absl::Duration total);
  // One was accepted, whatever becomes of it.
  void Accepted(size_t prompt_tokens);
  // One was refused because no decode worker served its model.
  void WithoutWorker() { without_worker_.Increment(); }
  void Inflight(int requests) { inflight_.Set(requests); }
  void FirstToken(absl::Duration ttft) { ttft_.Observe(absl::ToDoubleSeconds(ttft)); }
  // What was expected when it was placed, and what it took from then on.
  void TtftPredicted(absl::Duration expected, absl::Duration actual);
  void TokenGap(absl::Duration gap) { itl_.Observe(absl::ToDoubleSeconds(gap)); }
  void Tokens(int prompt, int cached, int completion);
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
  telemetry::Counter& Outcome(std::string_view outcome);
  telemetry::Histogram& TtftError(std::string_view came);
  telemetry::Counter& Decisions(std::string_view reason);
  telemetry::Counter& TurnedTo(std::string_view to);

  telemetry::Metrics metrics_;
  telemetry::Histogram& ttft_;
  telemetry::Histogram& itl_;
  telemetry::Histogram& duration_;
  telemetry::Gauge& inflight_;
  telemetry::Gauge& connections_;
  telemetry::Gauge& index_blocks_;
  telemetry::Gauge& waiting_;
  telemetry::Counter& accepted_;
  telemetry::Counter& accepted_prompt_tokens_;
  telemetry::Counter& without_worker_;
  telemetry::Counter& prompt_tokens_;
  telemetry::Counter& cached_tokens_;
  telemetry::Counter& completion_tokens_;
  telemetry::Counter& resubmitted_;
  telemetry::Counter& migrated_;
  telemetry::Counter& ejected_;
};

}  // namespace baton::router
