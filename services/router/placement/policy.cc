#include "services/router/placement/policy.h"

#include "common/base/status.h"
#include "fmt/ranges.h"
#include "services/router/placement/cost_policy.h"
#include "services/router/placement/simple_policies.h"

namespace baton::router {

std::vector<std::string_view> PolicyNames() {
  return {"cost",         "always-local", "always-remote", "kv-aware",
          "least-queued", "power-of-two", "random",        "round-robin"};
}

absl::StatusOr<std::unique_ptr<Policy>> MakePolicy(std::string_view name,
                                                   const PolicyOptions& options) {
  using Where = CostPolicy::Where;
  if (name == "cost") return std::make_unique<CostPolicy>("cost", Where::kCheaper, options.cost);
  if (name == "always-local") {
    return std::make_unique<CostPolicy>("always-local", Where::kLocal, options.cost);
  }
  if (name == "always-remote") {
    return std::make_unique<CostPolicy>("always-remote", Where::kRemote, options.cost);
  }
  if (auto policy = MakeSimplePolicy(name, options)) return policy;
  return InvalidArgument("placement: there is no policy \"{}\"; there are {}", name,
                         fmt::join(PolicyNames(), ", "));
}

bool MayBePaired(const WorkerState& decode, const WorkerState& prefill) {
  return prefill.profile.block_tokens == decode.profile.block_tokens &&
         prefill.profile.model == decode.profile.model &&
         prefill.profile.fingerprint == decode.profile.fingerprint;
}

std::vector<const WorkerState*> PartnersOf(const WorkerState& decode,
                                           const std::vector<WorkerState>& prefill) {
  std::vector<const WorkerState*> partners;
  for (const WorkerState& worker : prefill) {
    if (MayBePaired(decode, worker)) partners.push_back(&worker);
  }
  return partners;
}

}  // namespace baton::router
