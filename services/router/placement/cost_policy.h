#pragma once

#include <string>

#include "services/router/placement/policy.h"

namespace baton::router {

// The least estimated total cost over every decode worker, with its own prefill and with each
// prefill worker's. `always-local` and `always-remote` are the same with one half of the choices
// struck out (without a prefill worker everything is local all the same).
class CostPolicy : public Policy {
 public:
  enum class Where { kCheaper, kLocal, kRemote };
  CostPolicy(std::string name, Where where, const CostOptions& options)
      : name_(std::move(name)), where_(where), model_(options) {}

  std::string_view name() const override { return name_; }
  Decision Decide(const PlacementRequest& request, const PlacementSnapshot& snapshot) override;

 private:
  std::vector<Candidate> CandidatesOf(const PlacementRequest& request,
                                      const PlacementSnapshot& snapshot) const;
  bool MayBeLocal(const WorkerState& decode, bool has_partner) const;

  const std::string name_;
  const Where where_;
  const CostModel model_;
};

}  // namespace baton::router
