#pragma once

#include <memory>
#include <string>
#include <vector>

#include "services/router/dispatch/dispatcher.h"
#include "tests/simulation/fault/mutations.h"
#include "tests/simulation/network/network.h"
#include "tests/simulation/worker/sim_report_stream.h"

namespace baton::simulation {

// One life of one router process: the product's roster, index, policies and dispatcher. Dies by
// being destroyed, after its process was killed.
class SimRouter : public ReportListener {
 public:
  SimRouter(Network& network, std::shared_ptr<Process> process, const std::string& policy,
            uint64_t seed, const Mutations& mutations);
  ~SimRouter() override;

  router::Dispatcher& dispatcher() { return *dispatcher_; }
  const router::Roster& roster() const { return *roster_; }
  const std::shared_ptr<Process>& process() const { return process_; }
  void AcceptReports(const std::shared_ptr<Wire>& wire) override;

  static constexpr int kInflightMax = 64;

 private:
  void TickEvery(absl::Duration period);

  const std::shared_ptr<Process> process_;
  router::RouterMetrics metrics_;
  std::unique_ptr<router::PolicyTable> policies_;
  std::unique_ptr<router::Roster> roster_;
  std::unique_ptr<router::Dispatcher> dispatcher_;
};

}  // namespace baton::simulation
