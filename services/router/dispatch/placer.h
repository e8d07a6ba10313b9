#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "common/kv/block_hash.h"
#include "services/router/dispatch/flight.h"
#include "services/router/membership/roster.h"
#include "services/router/placement/policy_table.h"
#include "services/router/telemetry/router_metrics.h"

namespace baton::router {

// Finds where a flight runs: asks the policy about those that may take it, and takes its places
// there. Thread-safe.
class Placer {
 public:
  // Where a request may run: one that is new only where it can begin soon, one that has run before
  // is not kept waiting.
  enum class Where : uint8_t { kRoom, kAnywhere };

  struct Options {
    // Sequences a decode worker is given beyond its batch, in percent of it.
    int batch_ahead_percent = 25;
    // For so long after the last decode worker that could take work, one is expected to come.
    absl::Duration worker_wait;
  };
  // Everything borrowed outlives this.
  Placer(const Options& options, PolicyTable& policies, Roster& roster, RouterMetrics& metrics,
         const Clock& clock);

  struct Found {
    Decision decision;
    std::vector<kv::BlockHash> prompt;  // the hashes of its blocks
    int64_t tokens_to_compute = 0;      // of the prompt, where it is computed
  };
  // UNAVAILABLE, or `why` when something went wrong before, when nobody can take it at all; nothing
  // when there is no Where::kRoom, but may be soon. What is found is reserved: its places, and its
  // work in the eyes of the next decisions.
  absl::StatusOr<std::optional<Found>> Find(const Flight& flight,
                                            const std::vector<SequenceSpec>& sequences,
                                            const absl::Status& why, Where where);

  // Could a new request of this model and so many sequences begin soon?
  Roster::Places PlacesFor(const AcceptedRequest& request) const {
    return roster_.PlacesFor(request.model->name(), request.n, options_.batch_ahead_percent);
  }
  // No decode worker can take work of this model now, but one is expected to.
  bool ExpectsWorker(std::string_view model) const;
  // By the last reports: can a worker that is not leaving take what is left of it now, and begin at
  // once? kLater: its equals are busy.
  enum class Room : uint8_t { kNowhere, kLater, kNow };
  Room RoomFor(const Flight& flight) const;

 private:
  Decision Decide(const Flight& flight, const std::vector<SequenceSpec>& sequences,
                  std::span<const kv::BlockHash> prompt, PlacementSnapshot& snapshot);
  // Is the worker there, and may it hand KV to workers of this fingerprint?
  bool HandsOver(const WorkerId& source, const std::string& fingerprint) const;
  bool Reserve(const std::vector<SequenceSpec>& sequences, Where where, Found& found);

  const Options options_;
  PolicyTable& policies_;
  Roster& roster_;
  RouterMetrics& metrics_;
  const Clock& clock_;
};

}  // namespace baton::router
