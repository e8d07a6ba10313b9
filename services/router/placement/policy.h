#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "services/router/placement/cost_model.h"
#include "services/router/placement/worker_state.h"

namespace baton::router {

// What a policy may know of the request.
struct PlacementRequest {
  RequestId id;
  int32_t prompt_tokens = 0;
  int32_t max_tokens = 0;
  int32_t choices = 1;
  int32_t priority = 0;
  uint64_t session = 0;  // SessionKeyOf: equal ones want the same worker
};

// Who may take it: workers of the request's model that are reachable and not draining.
struct PlacementSnapshot {
  std::vector<WorkerState> decode;
  std::vector<WorkerState> prefill;
};

// One way to run the request, with what it was estimated to cost.
struct Candidate {
  WorkerId decode;
  WorkerId prefill;  // empty: prefill on the decode worker
  int32_t cached_tokens_decode = 0;
  int32_t cached_tokens_prefill = 0;
  Estimate estimate;
};

// Why, in one word, for the metric's label and for /debug/cluster.
namespace reason {
inline constexpr std::string_view kNoPrefillWorker = "no_prefill_worker";  // local: nobody to ask
inline constexpr std::string_view kCached = "cached";  // local: about a block is missing
inline constexpr std::string_view kLocalCheaper = "local_cheaper";
inline constexpr std::string_view kRemoteCheaper = "remote_cheaper";
inline constexpr std::string_view kPolicyLocal = "policy_local";  // the policy's rule, no estimate
inline constexpr std::string_view kPolicyRemote = "policy_remote";
inline constexpr std::string_view kMigrated = "migrated";  // its KV comes from the worker it leaves
inline constexpr std::string_view kAll[] = {kNoPrefillWorker, kCached,      kLocalCheaper,
                                            kRemoteCheaper,   kPolicyLocal, kPolicyRemote,
                                            kMigrated};
}  // namespace reason

struct Decision {
  PlacementRequest request;
  WorkerId decode;
  std::string token_fingerprint;  // of `decode`
  std::vector<WorkerId> prefill;  // best first, at most three; empty: local
  // With an empty `prefill`: who computes the prompt, best first, if it turns out that what is
  // ahead of it on `decode` takes longer than `local_wait_max`. Empty: nobody.
  std::vector<WorkerId> spare;
  absl::Duration local_wait_max;
  std::string_view reason;  // one of reason::k…
  std::string policy;
  std::vector<Candidate> candidates;  // cheapest first, at most 32, what was chosen among them
  absl::Time at;
};

// Chooses where a request runs. Pure but for counters and dice of its own: it sees a snapshot and
// gives a decision. Called by one thread at a time.
class Policy {
 public:
  virtual ~Policy() = default;
  virtual std::string_view name() const = 0;
  // Requires at least one decode worker in the snapshot.
  virtual Decision Decide(const PlacementRequest& request, const PlacementSnapshot& snapshot) = 0;
};

// ---- what every policy respects ----

using Workers = std::vector<const WorkerState*>;  // into a snapshot

// May these two hand KV over? Same model, fingerprint and block size.
bool MayBePaired(const WorkerState& decode, const WorkerState& prefill);
// Would it turn `sequences` with such a prompt away: do they exceed its batch and its queue? Going
// by its last report; a worker that states no limits is never full.
bool Full(const WorkerState& worker, int32_t sequences, int32_t prompt_tokens);
// Decode workers that are neither full nor crowded; else those that are not full; when all are, all
// of them: theirs is the last word.
Workers DecodeTakers(const PlacementRequest& request, const PlacementSnapshot& snapshot);
// Prefill workers that may be paired with `decode` and are not full.
Workers PrefillTakers(const PlacementRequest& request, const WorkerState& decode,
                      const PlacementSnapshot& snapshot);
// About a block of the prompt is missing on `decode`: computed there, whoever says otherwise; the
// engine does so too. Held, not just expected: else the engine would find the prompt missing and
// have nobody to ask.
bool NearlyCached(const WorkerState& decode, const PlacementRequest& request);

}  // namespace baton::router
