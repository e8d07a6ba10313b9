#include "services/router/placement/policies.h"

#include "common/base/status.h"
#include "fmt/ranges.h"
#include "services/router/placement/cost_policy.h"
#include "services/router/placement/rule_policy.h"
#include "services/router/placement/rules/fewest_computed_tokens.h"
#include "services/router/placement/rules/kv_aware.h"
#include "services/router/placement/rules/least_kv.h"
#include "services/router/placement/rules/least_queued.h"
#include "services/router/placement/rules/power_of_two.h"
#include "services/router/placement/rules/random.h"
#include "services/router/placement/rules/round_robin.h"

namespace baton::router {
namespace {

using Made = std::unique_ptr<Policy>;
using Where = CostPolicy::Where;

template <Where where>
Made Cost(std::string_view name, const PolicyOptions& options) {
  return std::make_unique<CostPolicy>(std::string(name), where, options.cost,
                                      TieDice(options.seed));
}

// The cost of a request to itself: what it does to others counts for nothing.
Made Selfish(std::string_view name, const PolicyOptions& options) {
  CostOptions own = options.cost;
  own.harm_weight = 0;
  return std::make_unique<CostPolicy>(std::string(name), Where::kCheaper, own,
                                      TieDice(options.seed));
}

template <typename R>
Made Ruled(std::string_view name, const PolicyOptions& options) {
  return std::make_unique<RulePolicy>(name, std::make_unique<R>(TieDice(options.seed)),
                                      std::make_unique<R>(TieDice(options.seed + 1)), options.cost);
}

Made InTurn(std::string_view name, const PolicyOptions& options) {
  return std::make_unique<RulePolicy>(name, std::make_unique<RoundRobinRule>(),
                                      std::make_unique<RoundRobinRule>(), options.cost);
}

template <typename R>
Made Diced(std::string_view name, const PolicyOptions& options) {
  return std::make_unique<RulePolicy>(name, std::make_unique<R>(options.seed),
                                      std::make_unique<R>(options.seed + 1), options.cost);
}

Made Affine(std::string_view name, const PolicyOptions& options) {
  return std::make_unique<RulePolicy>(name, std::make_unique<SessionAffinityRule>(options.affinity),
                                      std::make_unique<SessionAffinityRule>(options.affinity),
                                      options.cost);
}

constexpr PolicyKind kKinds[] = {
    {"cost", "least estimated time of the request plus the harm done to those it joins",
     Cost<Where::kCheaper>},
    {"lowest-latency", "least estimated time of the request, whatever that costs the others",
     Selfish},
    {"kv-aware", "most of the prompt in the prefix cache, then the least queued",
     Ruled<KvAwareRule>},
    {"fewest-computed-tokens", "fewest prompt tokens to compute: queued ahead plus own uncached",
     Ruled<FewestComputedTokensRule>},
    {"least-queued", "fewest sequences running, waiting and just placed", Ruled<LeastQueuedRule>},
    {"least-kv", "smallest share of the KV pool in use", Ruled<LeastKvRule>},
    {"power-of-two", "the less queued of two drawn at random", Diced<PowerOfTwoRule>},
    {"round-robin", "in turn", InTurn},
    {"random", "any, all equally often", Diced<RandomRule>},
    {"session-affinity", "a session's own worker, by user or prompt beginning, unless overloaded",
     Affine},
    {"always-local", "as cost, but every prompt is computed where it is decoded",
     Cost<Where::kLocal>},
    {"always-remote", "as cost, but every prompt goes to a prefill worker, if there is one",
     Cost<Where::kRemote>},
};

}  // namespace

std::span<const PolicyKind> PolicyKinds() { return kKinds; }

std::vector<std::string_view> PolicyNames() {
  std::vector<std::string_view> names;
  for (const PolicyKind& kind : kKinds) names.push_back(kind.name);
  return names;
}

absl::StatusOr<std::unique_ptr<Policy>> MakePolicy(std::string_view name,
                                                   const PolicyOptions& options) {
  for (const PolicyKind& kind : kKinds) {
    if (kind.name == name) return kind.make(kind.name, options);
  }
  return InvalidArgument("there is no policy \"{}\"; there are {}", name,
                         fmt::join(PolicyNames(), ", "));
}

}  // namespace baton::router
