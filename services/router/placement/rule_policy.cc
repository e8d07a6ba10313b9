#include "services/router/placement/rule_policy.h"

#include <algorithm>

#include "common/base/check.h"

namespace baton::router {

Candidate RulePolicy::LocalOn(const WorkerState& decode, const PlacementRequest& request) const {
  return {.decode = decode.profile.id,
          .cached_tokens_decode = decode.cached_tokens(),
          .estimate = model_.Local(decode, request.prompt_tokens, request.choices)};
}

Candidate RulePolicy::RemoteOn(const WorkerState& decode, const WorkerState& prefill,
                               const PlacementRequest& request) const {
  return {.decode = decode.profile.id,
          .prefill = prefill.profile.id,
          .cached_tokens_decode = decode.cached_tokens(),
          .cached_tokens_prefill = prefill.cached_tokens(),
          .estimate = model_.Remote(decode, prefill, request.prompt_tokens, request.choices)};
}

Decision RulePolicy::Decide(const PlacementRequest& request, const PlacementSnapshot& snapshot) {
  const WorkerState& decode = *decode_rule_->Pick(request, DecodeTakers(request, snapshot));
  decode_rule_->OnTaken(decode);
  Decision decision{.request = request, .decode = decode.profile.id, .policy = name_};
  decision.candidates.push_back(LocalOn(decode, request));

  Workers partners = PrefillTakers(request, decode, snapshot);
  if (partners.empty()) {
    decision.reason = reason::kNoPrefillWorker;
    return decision;
  }
  if (NearlyCached(decode, request)) {
    decision.reason = reason::kCached;
    return decision;
  }
  const WorkerState* prefill = prefill_rule_->Pick(request, partners);
  decision.candidates.push_back(RemoteOn(decode, *prefill, request));
  if (decision.candidates[0].estimate.total_ms <= decision.candidates[1].estimate.total_ms) {
    decision.reason = reason::kLocalCheaper;
    decision.spare.push_back(prefill->profile.id);
    decision.local_wait_max = model_.LocalWaitMax(decision.candidates[0].estimate,
                                                  decision.candidates[1].estimate.total_ms);
    return decision;
  }
  std::swap(decision.candidates[0], decision.candidates[1]);  // cheapest first
  prefill_rule_->OnTaken(*prefill);
  decision.reason = reason::kRemoteCheaper;
  decision.prefill.push_back(prefill->profile.id);
  std::erase(partners, prefill);
  // The runner-up, should the first not answer.
  if (!partners.empty()) {
    decision.prefill.push_back(prefill_rule_->Pick(request, partners)->profile.id);
  }
  return decision;
}

}  // namespace baton::router
