#pragma once

#include <string>
#include <string_view>

#include "absl/time/time.h"
#include "common/telemetry/metrics.h"

namespace baton::router {

// What becomes of the requests for one model. Thread-safe.
class ModelMetrics {
 public:
  // Every figure is there from now on, as 0: what appears with its first event has no rise that
  // rate() could see. `metrics` outlives this.
  ModelMetrics(telemetry::Metrics& metrics, const std::string& model);

  // One was accepted, whatever becomes of it.
  void Accepted(size_t prompt_tokens);
  // One was refused because no decode worker served the model.
  void WithoutWorker() { without_worker_.Increment(); }
  void FirstToken(absl::Duration ttft) { ttft_.Observe(absl::ToDoubleSeconds(ttft)); }
  void TokenGap(absl::Duration gap) { itl_.Observe(absl::ToDoubleSeconds(gap)); }
  void Tokens(int prompt, int cached, int completion);
  void Completed(absl::Duration total);
  void Cancelled() { cancelled_.Increment(); }
  void Failed() { failed_.Increment(); }

 private:
  telemetry::Histogram& ttft_;
  telemetry::Histogram& itl_;
  telemetry::Histogram& duration_;
  telemetry::Counter& completed_;
  telemetry::Counter& cancelled_;
  telemetry::Counter& failed_;
  telemetry::Counter& accepted_;
  telemetry::Counter& accepted_prompt_tokens_;
  telemetry::Counter& without_worker_;
  telemetry::Counter& prompt_tokens_;
  telemetry::Counter& cached_tokens_;
  telemetry::Counter& completion_tokens_;
};

}  // namespace baton::router
