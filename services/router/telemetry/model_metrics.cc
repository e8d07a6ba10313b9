#include "services/router/telemetry/model_metrics.h"

namespace baton::router {
namespace {

telemetry::Counter& Outcome(telemetry::Metrics& metrics, const std::string& model,
                            const char* outcome) {
  return metrics.AddCounter("baton_requests_total", "Requests by outcome",
                            {{"model", model}, {"outcome", outcome}});
}

}  // namespace

ModelMetrics::ModelMetrics(telemetry::Metrics& metrics, const std::string& model)
    : ttft_(metrics.AddHistogram("baton_request_ttft_seconds",
                                 "From acceptance to the first token, at the router",
                                 telemetry::TtftBuckets(), {{"model", model}})),
      itl_(metrics.AddHistogram("baton_request_itl_seconds",
                                "Between consecutive tokens of a choice, at the router",
                                telemetry::ItlBuckets(), {{"model", model}})),
      duration_(metrics.AddHistogram("baton_request_duration_seconds",
                                     "From acceptance to the end of completed requests",
                                     telemetry::RequestBuckets(), {{"model", model}})),
      completed_(Outcome(metrics, model, "completed")),
      cancelled_(Outcome(metrics, model, "cancelled")),
      failed_(Outcome(metrics, model, "failed")),
      accepted_(metrics.AddCounter("baton_requests_accepted_total",
                                   "Requests accepted, whatever became of them",
                                   {{"model", model}})),
      accepted_prompt_tokens_(metrics.AddCounter("baton_accepted_prompt_tokens_total",
                                                 "Prompt tokens of accepted requests",
                                                 {{"model", model}})),
      without_worker_(metrics.AddCounter("baton_requests_without_worker_total",
                                         "Requests refused because no decode worker served their "
                                         "model",
                                         {{"model", model}})),
      prompt_tokens_(metrics.AddCounter("baton_prompt_tokens_total",
                                        "Prompt tokens of completed requests", {{"model", model}})),
      cached_tokens_(metrics.AddCounter("baton_prompt_cached_tokens_total",
                                        "Prompt tokens of completed requests that were in a decode "
                                        "worker's prefix cache",
                                        {{"model", model}})),
      completion_tokens_(metrics.AddCounter("baton_completion_tokens_total",
                                            "Tokens generated for completed requests",
                                            {{"model", model}})) {}

void ModelMetrics::Accepted(size_t prompt_tokens) {
  accepted_.Increment();
  accepted_prompt_tokens_.Increment(static_cast<double>(prompt_tokens));
}

void ModelMetrics::Completed(absl::Duration total) {
  completed_.Increment();
  duration_.Observe(absl::ToDoubleSeconds(total));
}

void ModelMetrics::Tokens(int prompt, int cached, int completion) {
  prompt_tokens_.Increment(prompt);
  cached_tokens_.Increment(cached);
  completion_tokens_.Increment(completion);
}

}  // namespace baton::router
