#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/time/time.h"
#include "baton/v1/worker.pb.h"
#include "services/router/placement/policy.h"
#include "services/router/telemetry/request_trace.h"

namespace baton::router {

// What became of one request, placement by placement: what was known and estimated when it was
// placed, and what then happened.
struct FlightReport {
  // At most so many placements are kept; of more, the first one and the latest.
  static constexpr size_t kPlacementsMax = 8;

  struct Placement {
    Decision decision;
    absl::Duration asked;                       // when a worker was looked for; as the next:
    absl::Duration after;                       // since the router took the request on
    std::optional<absl::Duration> first_token;  // at the router
    std::optional<absl::Duration> left;         // when it went on elsewhere
    std::optional<v1::SequenceTimes> measured;  // by the decode worker; once it has a token
    std::string left_because;                   // why it went on elsewhere; empty: it did not

    // The decode worker had the prompt computed otherwise than it was placed, without anything
    // having failed: "local" or "remote". Empty: it did not, or has not begun.
    std::string_view turned_to() const;
  };

  RequestId request;
  std::string model;
  std::string tenant;
  absl::Time accepted_at;
  int32_t prompt_tokens = 0;
  int32_t completion_tokens = 0;         // over all choices, so far
  std::string_view state = "running";    // or waiting, completed, failed, cancelled
  std::string error;                     // of a failed one
  std::vector<Placement> placements;     // in order of time
  int placements_total = 0;              // those not kept included
  std::optional<absl::Duration> queued;  // in the router's queue, so far; absent: it did not wait
  std::optional<absl::Duration> ttft;    // since it was taken on, at the router
  absl::Duration total;                  // so far, or in all
  std::optional<RequestTrace> trace;     // with tracing
  absl::Duration tokenized;              // its text was token ids; since it was taken on
  absl::Duration queued_from;            // with `queued`, likewise
  absl::Duration detokenizing;           // spent on making text of tokens; with tracing

  // Both since the router took the request on.
  void AddPlacement(const Decision& decision, absl::Duration asked, absl::Duration after);
};

// Is it this request's id, or what its client chose as such (X-Request-Id), which is its beginning?
bool IsNamed(const RequestId& request, std::string_view name);

// What the placement was expected to cost; null when its policy made no estimate of it.
const Candidate* ChosenOf(const Decision& decision);

}  // namespace baton::router
