#pragma once

#include <memory>
#include <optional>
#include <string>

#include "services/router/placement/policy.h"
#include "services/router/placement/rule.h"

namespace baton::router {

// One rule picks the decode worker, the same kind of rule a prefill worker to go with it; whether
// the prompt goes there or stays local is what the cost model says of these two. The policies that
// people compare with.
class RulePolicy : public Policy {
 public:
  RulePolicy(std::string_view name, std::unique_ptr<Rule> decode, std::unique_ptr<Rule> prefill,
             const CostOptions& options)
      : name_(name),
        decode_rule_(std::move(decode)),
        prefill_rule_(std::move(prefill)),
        model_(options) {}

  std::string_view name() const override { return name_; }
  Decision Decide(const PlacementRequest& request, const PlacementSnapshot& snapshot) override;

 private:
  Candidate LocalOn(const WorkerState& decode, const PlacementRequest& request) const;
  Candidate RemoteOn(const WorkerState& decode, const WorkerState& prefill,
                     const PlacementRequest& request) const;

  const std::string name_;
  const std::unique_ptr<Rule> decode_rule_;
  const std::unique_ptr<Rule> prefill_rule_;
  const CostModel model_;
};

}  // namespace baton::router
