#include "services/router/placement/cost_policy.h"

#include <algorithm>

#include "common/base/check.h"

namespace baton::router {
namespace {

constexpr size_t kPrefillTargetsMax = 2;

Candidate MakeCandidate(const WorkerState& decode, const WorkerState* prefill, Estimate estimate) {
  return {.decode = decode.profile.id,
          .prefill = prefill ? prefill->profile.id : WorkerId(),
          .cached_tokens_decode = decode.cached_tokens(),
          .cached_tokens_prefill = prefill ? prefill->cached_tokens() : 0,
          .estimate = estimate};
}

// Held, not just expected: else the engine would find the prompt missing and have nobody to ask.
bool NearlyCached(const WorkerState& decode, const PlacementRequest& request) {
  return request.prompt_tokens - decode.held_tokens() <= decode.profile.block_tokens;
}

const WorkerState& Find(const std::vector<WorkerState>& workers, const WorkerId& id) {
  auto found = std::find_if(workers.begin(), workers.end(),
                            [&](const WorkerState& worker) { return worker.profile.id == id; });
  CHECK(found != workers.end(), "{} is not in the snapshot", id.value());
  return *found;
}

}  // namespace

bool CostPolicy::MayBeLocal(const WorkerState& decode, bool has_partner) const {
  return where_ != Where::kRemote || !has_partner;
}

std::vector<Candidate> CostPolicy::CandidatesOf(const PlacementRequest& request,
                                                const PlacementSnapshot& snapshot) const {
  std::vector<Candidate> candidates;
  for (const WorkerState& decode : snapshot.decode) {
    auto partners = PartnersOf(decode, snapshot.prefill);
    if (where_ == Where::kLocal) partners.clear();
    // A block or less is computed where it is, whoever says otherwise: the engine does so too.
    if (where_ != Where::kLocal && NearlyCached(decode, request)) partners.clear();
    if (MayBeLocal(decode, !partners.empty())) {
      candidates.push_back(MakeCandidate(
          decode, nullptr, model_.Local(decode, request.prompt_tokens, request.choices)));
    }
    for (const WorkerState* prefill : partners) {
      candidates.push_back(
          MakeCandidate(decode, prefill,
                        model_.Remote(decode, *prefill, request.prompt_tokens, request.choices)));
    }
  }
  std::stable_sort(candidates.begin(), candidates.end(), [](const auto& a, const auto& b) {
    return a.estimate.total_ms < b.estimate.total_ms;
  });
  return candidates;
}

Decision CostPolicy::Decide(const PlacementRequest& request, const PlacementSnapshot& snapshot) {
  CHECK(!snapshot.decode.empty(), "no decode worker to choose from");
  Decision decision{.request = request, .policy = name_};
  decision.candidates = CandidatesOf(request, snapshot);
  const Candidate& best = decision.candidates.front();
  const WorkerState& decode = Find(snapshot.decode, best.decode);
  decision.decode = best.decode;
  if (best.prefill.value().empty()) {
    if (where_ == Where::kLocal) {
      decision.reason = reason::kPolicyLocal;
    } else if (PartnersOf(decode, snapshot.prefill).empty()) {
      decision.reason = reason::kNoPrefillWorker;
    } else {
      decision.reason = NearlyCached(decode, request) ? reason::kCached : reason::kLocalCheaper;
    }
    return decision;
  }
  decision.reason = where_ == Where::kRemote ? reason::kPolicyRemote : reason::kRemoteCheaper;
  // The runner-up serves the same decode worker.
  for (const Candidate& candidate : decision.candidates) {
    if (candidate.decode != best.decode || candidate.prefill.value().empty()) continue;
    decision.prefill.push_back(candidate.prefill);
    if (decision.prefill.size() == kPrefillTargetsMax) break;
  }
  return decision;
}

}  // namespace baton::router
