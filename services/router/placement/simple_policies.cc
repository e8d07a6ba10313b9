#include "services/router/placement/simple_policies.h"

#include <algorithm>
#include <functional>
#include <random>
#include <string>

#include "common/base/check.h"

namespace baton::router {
namespace {

using Workers = std::vector<const WorkerState*>;
using Pick = std::function<const WorkerState*(const Workers&)>;

bool LessQueued(const WorkerState* a, const WorkerState* b) {
  return std::make_pair(a->sequences(), a->queued_tokens()) <
         std::make_pair(b->sequences(), b->queued_tokens());
}

bool BetterCached(const WorkerState* a, const WorkerState* b) {
  if (a->cached_tokens() != b->cached_tokens()) return a->cached_tokens() > b->cached_tokens();
  return LessQueued(a, b);
}

// Two pickers, because decode and prefill workers take turns independently of each other.
class SimplePolicy : public Policy {
 public:
  SimplePolicy(std::string name, Pick pick_decode, Pick pick_prefill)
      : name_(std::move(name)),
        pick_decode_(std::move(pick_decode)),
        pick_prefill_(std::move(pick_prefill)) {}

  std::string_view name() const override { return name_; }

  Decision Decide(const PlacementRequest& request, const PlacementSnapshot& snapshot) override {
    CHECK(!snapshot.decode.empty(), "no decode worker to choose from");
    Workers all;
    for (const WorkerState& worker : snapshot.decode) all.push_back(&worker);
    const WorkerState* decode = pick_decode_(all);
    const Workers partners = PartnersOf(*decode, snapshot.prefill);
    Decision decision{.request = request, .decode = decode->profile.id, .policy = name_};
    const WorkerState* prefill = partners.empty() ? nullptr : pick_prefill_(partners);
    if (prefill != nullptr) decision.prefill.push_back(prefill->profile.id);
    decision.reason = prefill ? reason::kPolicyRemote : reason::kNoPrefillWorker;
    decision.candidates.push_back(
        {.decode = decode->profile.id,
         .prefill = prefill ? prefill->profile.id : WorkerId(),
         .cached_tokens_decode = decode->cached_tokens(),
         .cached_tokens_prefill = prefill ? prefill->cached_tokens() : 0});
    return decision;
  }

 private:
  const std::string name_;
  const Pick pick_decode_;
  const Pick pick_prefill_;
};

template <typename Less>
Pick Best(Less less) {
  return [less](const Workers& all) { return *std::min_element(all.begin(), all.end(), less); };
}

Pick InTurn() {
  return [turn = size_t{0}](const Workers& all) mutable { return all[turn++ % all.size()]; };
}

Pick Random(uint64_t seed) {
  return [dice = std::mt19937_64(seed)](const Workers& all) mutable {
    return all[dice() % all.size()];
  };
}

Pick PowerOfTwo(uint64_t seed) {
  return [dice = std::mt19937_64(seed)](const Workers& all) mutable {
    const size_t one = dice() % all.size();
    // Another one than the first, if there is another.
    const size_t other = all.size() == 1 ? one : (one + 1 + dice() % (all.size() - 1)) % all.size();
    return LessQueued(all[other], all[one]) ? all[other] : all[one];
  };
}

}  // namespace

std::unique_ptr<Policy> MakeSimplePolicy(std::string_view name, const PolicyOptions& options) {
  const auto make = [&](Pick decode, Pick prefill) {
    return std::make_unique<SimplePolicy>(std::string(name), std::move(decode), std::move(prefill));
  };
  if (name == "kv-aware") return make(Best(BetterCached), Best(BetterCached));
  if (name == "least-queued") return make(Best(LessQueued), Best(LessQueued));
  if (name == "round-robin") return make(InTurn(), InTurn());
  if (name == "random") return make(Random(options.seed), Random(options.seed + 1));
  if (name == "power-of-two") return make(PowerOfTwo(options.seed), PowerOfTwo(options.seed + 1));
  return nullptr;
}

}  // namespace baton::router
