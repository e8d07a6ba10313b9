#pragma once

#include <string>

#include "services/router/placement/policy.h"
#include "services/router/placement/tie_dice.h"

namespace baton::router {

// The least estimated total cost over every decode worker, with its own prefill and with each
// plausible prefill worker's: the eight that would have the prompt computed and sent first. With
// dice, of those that cost nearly the least (CostOptions::near_share) any.
// `always-local` and `always-remote` are the same with one half of the choices struck out (without
// a prefill worker everything is local all the same).
class CostPolicy : public Policy {
 public:
  enum class Where { kCheaper, kLocal, kRemote };
  CostPolicy(std::string name, Where where, const CostOptions& options, TieDice dice = TieDice())
      : name_(std::move(name)),
        where_(where),
        model_(options),
        near_share_(options.near_share),
        dice_(dice) {}

  std::string_view name() const override { return name_; }
  Decision Decide(const PlacementRequest& request, const PlacementSnapshot& snapshot) override;

 private:
  // A prefill worker that may be asked, with its share of the estimates.
  struct Partner {
    const WorkerState* worker = nullptr;
    CostModel::PrefillHalf half;
    double roll = 0;  // of the dice
  };
  // Prefill workers that can be paired with the same decode workers.
  struct Pool {
    std::vector<Partner> partners;
  };
  // One way to run the request, before it is worth a Candidate.
  struct Option {
    double total_ms = 0;
    double drawn_ms = 0;  // what it is compared by: total_ms, a little longer by the dice
    const WorkerState* decode = nullptr;
    const Partner* partner = nullptr;  // null: local
  };
  std::vector<Pool> PoolsOf(const PlacementRequest& request, const PlacementSnapshot& snapshot);
  std::vector<Option> OptionsOf(const PlacementRequest& request, const PlacementSnapshot& snapshot,
                                const std::vector<Pool>& pools);
  CostModel::PrefillHalf HalfFor(const Partner& partner, const WorkerState& decode,
                                 const PlacementRequest& request) const;
  Candidate CandidateOf(const Option& option, const PlacementRequest& request) const;
  // Who else would compute the prompt for the chosen decode worker.
  void AddPartners(const Option& best, std::vector<Option> options, Decision& decision) const;
  std::string_view ReasonOf(const Option& best, const PlacementRequest& request,
                            const std::vector<Pool>& pools) const;

  const std::string name_;
  const Where where_;
  CostModel model_;
  const double near_share_;
  TieDice dice_;
};

}  // namespace baton::router
