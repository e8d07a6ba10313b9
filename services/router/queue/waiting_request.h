#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "common/base/status.h"
#include "common/base/strong_id.h"

namespace baton::router {

// What the queue knows of a request.
struct WaitingRequest {
  RequestId id;
  size_t tenant = 0;     // index in the queue's tenants
  int32_t priority = 0;  // its class: smaller is more urgent
  int64_t prompt_tokens = 0;
  int64_t output_tokens_max = 0;                       // over all choices
  absl::Duration deadline = absl::InfiniteDuration();  // monotonic
};

// Somebody with a share of the cluster. The first of a queue's tenants is everybody else's.
struct Tenant {
  std::string name;
  double weight = 1;
  int64_t requests_max = 0;  // that may wait; 0: the queue's own bound alone
  int64_t tokens_max = 0;    // of prompts; likewise
};

// Why a request is not waited for, in the words of a metric's label and of an error's code.
namespace turned_away {
inline constexpr char kTenantFull[] = "tenant_queue_full";  // a bound of its tenant
inline constexpr char kOverShare[] = "tenant_over_share";   // full, and its tenant fills the most
inline constexpr char kQueueFull[] = "queue_full";
inline constexpr char kDisplaced[] = "queue_displaced";  // by a more urgent one
inline constexpr char kTooLong[] = "queue_wait_too_long";
inline constexpr const char* kAll[] = {kTenantFull, kOverShare, kQueueFull, kDisplaced, kTooLong};
}  // namespace turned_away

// A request that has lost its place, with what its client is told.
struct TurnedAway {
  RequestId id;
  absl::Status why;
};

}  // namespace baton::router
