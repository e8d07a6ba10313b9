#include "services/router/placement/cost_policy.h"

#include <algorithm>
#include <tuple>

#include "common/base/check.h"

// Decode and prefill workers are estimated once each, pairs only joined: with 500 of either there
// are 250,000 pairs, and all but a few thousand are not worth a look.
namespace baton::router {
namespace {

constexpr size_t kPrefillTargetsMax = 2;
constexpr size_t kPlausiblePartners = 8;
constexpr size_t kCandidatesKept = 32;

}  // namespace

// Each pool cut down to those that would have the whole prompt computed and sent first, in their
// old order. A worker that has not measured itself counts as fast as the first decode worker.
std::vector<CostPolicy::Pool> CostPolicy::PoolsOf(const PlacementRequest& request,
                                                  const PlacementSnapshot& snapshot) {
  std::vector<Pool> pools;
  if (where_ == Where::kLocal) return pools;
  for (const WorkerState& prefill : snapshot.prefill) {
    if (Full(prefill, 1, request.prompt_tokens)) continue;
    auto pool = std::find_if(pools.begin(), pools.end(), [&](const Pool& other) {
      return MayBePaired(*other.partners.front().worker, prefill);
    });
    if (pool == pools.end()) pool = pools.emplace(pools.end());
    pool->partners.push_back(
        {.worker = &prefill,
         .half = model_.PrefillHalfOf(prefill, snapshot.decode.front(), request.prompt_tokens),
         .roll = dice_.Roll()});
  }
  const auto sooner = [&](const Partner& a, const Partner& b) {
    const auto ready_ms = [&](const Partner& partner) {
      const double bytes = static_cast<double>(request.prompt_tokens) *
                           static_cast<double>(partner.worker->profile.kv_bytes_per_token);
      return model_.Join({.kv_bytes = bytes}, partner.half).ttft_ms *
             (1 + near_share_ * partner.roll);
    };
    return ready_ms(a) < ready_ms(b);
  };
  for (Pool& pool : pools) {
    std::vector<Partner>& partners = pool.partners;
    if (partners.size() <= kPlausiblePartners) continue;
    const auto end = partners.begin() + kPlausiblePartners;
    std::partial_sort(partners.begin(), end, partners.end(), sooner);
    partners.erase(end, partners.end());
    std::sort(partners.begin(), partners.end(),
              [](const Partner& a, const Partner& b) { return a.worker < b.worker; });
  }
  return pools;
}

CostModel::PrefillHalf CostPolicy::HalfFor(const Partner& partner, const WorkerState& decode,
                                           const PlacementRequest& request) const {
  if (model_.Measured(*partner.worker)) return partner.half;
  return model_.PrefillHalfOf(*partner.worker, decode, request.prompt_tokens);
}

std::vector<CostPolicy::Option> CostPolicy::OptionsOf(const PlacementRequest& request,
                                                      const PlacementSnapshot& snapshot,
                                                      const std::vector<Pool>& pools) {
  std::vector<Option> options;
  options.reserve(snapshot.decode.size() * (kPlausiblePartners + 1));
  for (const WorkerState* taker : DecodeTakers(request, snapshot)) {
    const WorkerState& decode = *taker;
    const double roll = dice_.Roll();
    // Whose computation it is counts as much as whose batch it joins.
    const auto add = [&](double total_ms, const Partner* partner) {
      const double drawn = 0.5 * (roll + (partner == nullptr ? roll : partner->roll));
      options.push_back({total_ms, total_ms * (1 + near_share_ * drawn), &decode, partner});
    };
    const auto pool = std::find_if(pools.begin(), pools.end(), [&](const Pool& candidates) {
      return MayBePaired(decode, *candidates.partners.front().worker);
    });
    const bool remote = pool != pools.end() && !NearlyCached(decode, request);
    if (where_ != Where::kRemote || !remote) {
      const Estimate local = model_.Local(decode, request.prompt_tokens, request.choices);
      add(local.total_ms, nullptr);
    }
    if (!remote) continue;
    const auto half = model_.DecodeHalfOf(decode, request.prompt_tokens, request.choices);
    for (const Partner& partner : pool->partners) {
      const Estimate estimate = model_.Join(half, HalfFor(partner, decode, request));
      add(estimate.total_ms, &partner);
    }
  }
  return options;
}

Candidate CostPolicy::CandidateOf(const Option& option, const PlacementRequest& request) const {
  const WorkerState& decode = *option.decode;
  Candidate candidate{.decode = decode.profile.id, .cached_tokens_decode = decode.cached_tokens()};
  if (option.partner == nullptr) {
    candidate.estimate = model_.Local(decode, request.prompt_tokens, request.choices);
    return candidate;
  }
  const WorkerState& prefill = *option.partner->worker;
  candidate.prefill = prefill.profile.id;
  candidate.cached_tokens_prefill = prefill.cached_tokens();
  candidate.estimate = model_.Remote(decode, prefill, request.prompt_tokens, request.choices);
  return candidate;
}

std::string_view CostPolicy::ReasonOf(const Option& best, const PlacementRequest& request,
                                      const std::vector<Pool>& pools) const {
  if (best.partner != nullptr) {
    return where_ == Where::kRemote ? reason::kPolicyRemote : reason::kRemoteCheaper;
  }
  if (where_ == Where::kLocal) return reason::kPolicyLocal;
  const bool partners = std::any_of(pools.begin(), pools.end(), [&](const Pool& pool) {
    return MayBePaired(*best.decode, *pool.partners.front().worker);
  });
  if (!partners) return reason::kNoPrefillWorker;
  return NearlyCached(*best.decode, request) ? reason::kCached : reason::kLocalCheaper;
}

Decision CostPolicy::Decide(const PlacementRequest& request, const PlacementSnapshot& snapshot) {
  CHECK(!snapshot.decode.empty(), "no decode worker to choose from");
  model_.SupposeFrom(snapshot.decode);
  const std::vector<Pool> pools = PoolsOf(request, snapshot);
  std::vector<Option> options = OptionsOf(request, snapshot, pools);
  // Of equal ones the first by name, local before remote.
  const auto by = [](double Option::* ms) {
    return [ms](const Option& a, const Option& b) {
      if (a.*ms != b.*ms) return a.*ms < b.*ms;
      return std::tie(a.decode, a.partner) < std::tie(b.decode, b.partner);
    };
  };
  const Option best = *std::min_element(options.begin(), options.end(), by(&Option::drawn_ms));
  const size_t kept = std::min(options.size(), kCandidatesKept);
  const auto end = options.begin() + static_cast<ptrdiff_t>(kept);
  std::partial_sort(options.begin(), end, options.end(), by(&Option::total_ms));
  const bool listed = std::any_of(options.begin(), end, [&](const Option& option) {
    return option.decode == best.decode && option.partner == best.partner;
  });
  Decision decision{.request = request,
                    .decode = best.decode->profile.id,
                    .reason = ReasonOf(best, request, pools),
                    .policy = name_};
  for (size_t i = 0; i < kept; ++i) {
    const bool last = i + 1 == kept;
    decision.candidates.push_back(CandidateOf(last && !listed ? best : options[i], request));
  }
  AddPartners(best, std::move(options), decision);
  return decision;
}

void CostPolicy::AddPartners(const Option& best, std::vector<Option> options,
                             Decision& decision) const {
  // The runner-up serves the same decode worker.
  std::erase_if(options, [&](const Option& option) {
    return option.decode != best.decode || option.partner == nullptr;
  });
  if (options.empty()) return;
  std::sort(options.begin(), options.end(), [](const Option& a, const Option& b) {
    return std::tie(a.drawn_ms, a.partner) < std::tie(b.drawn_ms, b.partner);
  });
  const bool local = best.partner == nullptr;
  std::vector<WorkerId>& partners = local ? decision.spare : decision.prefill;
  for (size_t i = 0; i < std::min(options.size(), kPrefillTargetsMax); ++i) {
    partners.push_back(options[i].partner->worker->profile.id);
  }
  if (!local) return;
  const PlacementRequest& request = decision.request;
  const Estimate here = model_.Local(*best.decode, request.prompt_tokens, request.choices);
  decision.local_wait_max = model_.LocalWaitMax(here, options.front().total_ms);
}

}  // namespace baton::router
