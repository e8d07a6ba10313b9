#include "services/router/dispatch/placer.h"

#include <algorithm>
#include <utility>

#include "services/router/intake/field_error.h"
#include "services/router/placement/room.h"
#include "services/router/placement/session_key.h"

namespace baton::router {
namespace {

// Why a request is prefilled where it is decoded, whatever the policy: in the words of reason::k….
constexpr std::string_view kPromptLogprobs = "prompt_logprobs";
constexpr std::string_view kNothingToGenerate = "nothing_to_generate";
constexpr absl::Duration kRetryAfter = absl::Seconds(1);
// Policies may insist on a worker that has no place: then there is none for now.
constexpr int kTurnsMax = 4;

// Leaves those that can go on with tokens of such a worker: others would say something else.
void KeepEquals(std::string_view token_fingerprint, std::vector<WorkerState>& workers) {
  if (token_fingerprint.empty()) return;
  std::erase_if(workers, [&](const WorkerState& worker) {
    return worker.profile.token_fingerprint != token_fingerprint;
  });
}

// Marks those that it could not begin on soon; are there others?
bool MarkCrowded(const std::vector<SequenceSpec>& sequences, int batch_ahead_percent,
                 std::vector<WorkerState>& workers) {
  const auto num_sequences = static_cast<int32_t>(sequences.size());
  const auto prompt_tokens = static_cast<int64_t>(sequences.front().prompt.size());
  bool any = false;
  for (WorkerState& worker : workers) {
    const Demand demand{.sequences = num_sequences,
                        .tokens_missing = prompt_tokens - worker.held_tokens()};
    worker.crowded = !HasRoom(worker, demand, batch_ahead_percent);
    any = any || !worker.crowded;
  }
  return any;
}

// Empty: the policy is free to choose.
std::string_view WhyLocal(const SamplingParams& sampling) {
  if (sampling.prompt_logprobs) return kPromptLogprobs;
  return sampling.max_tokens == 0 ? kNothingToGenerate : "";
}

}  // namespace

Placer::Placer(const Options& options, PolicyTable& policies, Roster& roster,
               RouterMetrics& metrics, const Clock& clock)
    : options_(options), policies_(policies), roster_(roster), metrics_(metrics), clock_(clock) {
  for (const std::string_view why : reason::kAll) metrics_.MayBePlaced(why);
  for (const std::string_view why : {kPromptLogprobs, kNothingToGenerate}) {
    metrics_.MayBePlaced(why);
  }
}

absl::StatusOr<std::optional<Placer::Found>> Placer::Find(
    const Flight& flight, const std::vector<SequenceSpec>& sequences, const absl::Status& why,
    Where where) {
  const std::string& model = flight.request().model->name();
  // Filled again and again: from one request to the next most of it stays as it is.
  static thread_local PlacementSnapshot snapshot;
  Found found;
  for (int turn = 0; turn < kTurnsMax; ++turn) {
    const auto facts = roster_.Facts(model);
    snapshot.decode.resize(facts ? snapshot.decode.size() : 0);
    if (facts) {
      found.prompt =
          kv::HashBlocks(sequences.front().prompt, facts->block_tokens, facts->hash_salt);
      // A prompt that is scored finds nothing in a cache: its logits are wanted, too.
      std::span<const kv::BlockHash> findable;
      if (!sequences.front().sampling.prompt_logprobs) findable = found.prompt;
      roster_.SnapshotFor(model, findable, flight.failed_workers(), snapshot);
      KeepEquals(flight.token_fingerprint(), snapshot.decode);
    }
    if (snapshot.decode.empty()) {
      if (where == Where::kRoom && ExpectsWorker(model)) return std::nullopt;
      const absl::Status status =
          !why.ok()
              ? why
              : WithErrorCode(Unavailable("no decode worker can take a request for \"{}\" now; "
                                          "try again",
                                          model),
                              "no_worker");
      return WithRetryAfter(status, kRetryAfter);
    }
    if (!MarkCrowded(sequences, options_.batch_ahead_percent, snapshot.decode) &&
        where == Where::kRoom) {
      return std::nullopt;
    }
    found.decision = Decide(flight, sequences, found.prompt, snapshot);
    // Somebody else may have taken the places meanwhile.
    if (Reserve(sequences, where, found)) return found;
  }
  return std::nullopt;
}

// A heartbeat missed on a busy machine, a link that opens, a worker whose successor starts: a new
// request is better off with a short wait than with an error.
bool Placer::ExpectsWorker(std::string_view model) const {
  const absl::Duration unserved = roster_.UnservedFor(model);
  return unserved > absl::ZeroDuration() && unserved <= options_.worker_wait;
}

Decision Placer::Decide(const Flight& flight, const std::vector<SequenceSpec>& sequences,
                        std::span<const kv::BlockHash> prompt, PlacementSnapshot& snapshot) {
  const AcceptedRequest& request = flight.request();
  const std::vector<int32_t>& tokens = sequences.front().prompt;
  const std::string_view why_local = WhyLocal(sequences.front().sampling);
  if (!why_local.empty()) snapshot.prefill.clear();
  const PlacementRequest wanted{.id = request.id,
                                .prompt_tokens = static_cast<int32_t>(tokens.size()),
                                .max_tokens = *sequences.front().sampling.max_tokens,
                                .choices = static_cast<int32_t>(sequences.size()),
                                .priority = request.priority,
                                .session = SessionKeyOf(request.user, prompt, tokens)};
  Decision decision = policies_.Decide(request.model->name(), wanted, snapshot);
  std::string fingerprint;
  for (const WorkerState& worker : snapshot.decode) {
    if (worker.profile.id != decision.decode) continue;
    fingerprint = worker.profile.fingerprint;
    decision.token_fingerprint = worker.profile.token_fingerprint;
  }
  if (!why_local.empty()) decision.reason = why_local;
  const WorkerId source = flight.kv_source();
  if (why_local.empty() && source != decision.decode && HandsOver(source, fingerprint)) {
    decision.prefill.insert(decision.prefill.begin(), source);
    decision.spare.clear();
    decision.reason = reason::kMigrated;
  }
  decision.at = clock_.Wall();
  metrics_.Placed(decision.reason);
  return decision;
}

bool Placer::HandsOver(const WorkerId& source, const std::string& fingerprint) const {
  if (source.value().empty()) return false;
  const std::optional<WorkerProfile> profile = roster_.ProfileOf(source);
  return profile && profile->fingerprint == fingerprint;
}

bool Placer::Reserve(const std::vector<SequenceSpec>& sequences, Where where, Found& found) {
  const Decision& decision = found.decision;
  const auto prompt = static_cast<int64_t>(sequences.front().prompt.size());
  int64_t cached_decode = 0;
  int64_t cached_prefill = 0;
  for (const Candidate& candidate : decision.candidates) {
    if (candidate.decode != decision.decode) continue;
    cached_decode = candidate.cached_tokens_decode;
    if (!decision.prefill.empty() && candidate.prefill == decision.prefill.front()) {
      cached_prefill = candidate.cached_tokens_prefill;
    }
  }
  const bool local = decision.prefill.empty();
  const Demand demand{.sequences = static_cast<int32_t>(sequences.size()),
                      .tokens = local ? prompt - cached_decode : 0,
                      .tokens_missing = prompt - cached_decode};
  std::optional<int32_t> ahead;
  if (where == Where::kRoom) ahead = options_.batch_ahead_percent;
  if (!roster_.TryPlace(decision.decode, demand, ahead)) return false;
  if (!local) roster_.AddPlaced(decision.prefill.front(), {.tokens = prompt - cached_prefill});
  found.tokens_to_compute = prompt - (local ? cached_decode : cached_prefill);
  return true;
}

Placer::Room Placer::RoomFor(const Flight& flight) const {
  const Flight::Footprint needed = flight.footprint();
  static thread_local PlacementSnapshot snapshot;
  roster_.SnapshotFor(flight.request().model->name(), {}, {}, snapshot);
  KeepEquals(flight.token_fingerprint(), snapshot.decode);
  if (snapshot.decode.empty()) return Room::kNowhere;
  const auto has_room = [&](const WorkerState& to) {
    const engine::LoadReport& load = to.load.engine;
    const int64_t tokens = int64_t{load.blocks_free + load.blocks_cached} * to.profile.block_tokens;
    const int32_t batch_max = to.profile.batch_sequences_max;  // 0: it stated none
    return (batch_max == 0 || to.taken_sequences() + needed.sequences <= batch_max) &&
           (load.blocks_total == 0 || needed.tokens < tokens);
  };
  return std::any_of(snapshot.decode.begin(), snapshot.decode.end(), has_room) ? Room::kNow
                                                                               : Room::kLater;
}

}  // namespace baton::router
