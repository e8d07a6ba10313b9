#pragma once

#include <functional>
#include <memory>
#include <string>

#include "common/handover/prefill_peers.h"
#include "tests/simulation/invariant/write_ledger.h"
#include "tests/simulation/network/network.h"

namespace baton::simulation {

struct Mutations;

// Prefill and Fence calls over simulated streams. Tells the ledger who may write.
class SimPrefillPeers : public handover::PrefillPeers {
 public:
  SimPrefillPeers(Network& network, std::shared_ptr<Process> process,
                  std::shared_ptr<WriteLedger> ledger, const Mutations& mutations)
      : network_(network),
        process_(std::move(process)),
        ledger_(std::move(ledger)),
        mutations_(mutations) {}

  std::shared_ptr<handover::Attempt> Open(const v1::PrefillTarget& target,
                                          const handover::AttemptId& id,
                                          handover::AttemptListener& listener) override;
  void Fence(const v1::PrefillTarget& target, const v1::FenceRequest& request,
             absl::Duration timeout, std::function<void(absl::Status)> done) override;

 private:
  Network& network_;
  const std::shared_ptr<Process> process_;
  const std::shared_ptr<WriteLedger> ledger_;
  const Mutations& mutations_;
};

}  // namespace baton::simulation
