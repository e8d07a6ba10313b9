#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/status.h"
#include "services/planner/sizing/picture.h"

namespace baton::planner {

// A worker as a router's page has it.
struct WorkerSample {
  std::string id;
  Pool pool = Pool::kDecode;
  bool ready = false;     // may take work
  bool draining = false;  // is leaving
  double report_age_ms = 0;
  engine::StepFit fit;
  int64_t waiting_tokens = 0;
  int32_t running = 0, waiting = 0;  // sequences
  int64_t blocks_active = 0;
  int32_t blocks = 0, block_tokens = 0, batch_sequences_max = 0, step_tokens_max = 0;
  // Prompt tokens since its start.
  double computed_tokens = 0, cached_tokens = 0;
};

// What one router has said at one moment. Counters are since its start.
struct RouterSample {
  double accepted = 0, accepted_prompt_tokens = 0;
  double completed = 0, prompt_tokens = 0, cached_tokens = 0, completion_tokens = 0;
  double without_worker = 0;               // refused because nobody served the model
  double itl_seconds = 0, itl_tokens = 0;  // sum and count of the times between tokens
  int64_t queued_requests = 0, queued_tokens = 0;
  std::vector<WorkerSample> workers;
};

// From a router's /debug/cluster and /metrics: of the workers and requests of one model, or, when
// `model` is empty, of all. What is missing or of the wrong kind is 0; workers
// without an id or with an unknown role are left out. INVALID_ARGUMENT when the first is no JSON
// object with workers.
absl::StatusOr<RouterSample> ReadRouter(std::string_view cluster_page,
                                        std::string_view metrics_page, std::string_view model = "");

}  // namespace baton::planner
