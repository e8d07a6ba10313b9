#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "common/engine/admission_gate.h"
#include "common/engine/engine_core.h"
#include "common/engine/sequence_limits.h"
#include "tests/simulation/clock/process.h"

namespace baton::simulation {

// An EngineCore whose thread is a chain of events: what is posted waits for the next step, a step
// takes its time. Keeps to engine.h's contract of Post().
class SimEngine {
 public:
  // Called after every step with work or commands; what a step must have left behind.
  using AfterStep = std::function<void(const std::vector<engine::Command>& handled)>;

  SimEngine(std::shared_ptr<Process> process, const engine::EngineOptions& options,
            model::ModelRunner& runner, engine::Observer& observer);
  // The process is dead: everything ends, nothing is told.
  ~SimEngine();

  absl::Status Post(engine::Command command);
  void Drain(engine::Refuse what) { gate_.Close(what); }
  bool idle() const { return gate_.empty() && core_->num_quarantined_epochs() == 0; }
  // Steps take so many times as long.
  void set_slowness(int factor) { slowness_ = factor; }
  // The next step does not end before so long.
  void Hang(absl::Duration duration) { hang_ = duration; }
  // How long the step under way takes already.
  absl::Duration step_age() const { return hung_since_ ? Now() - *hung_since_ : absl::Duration(); }
  void set_after_step(AfterStep after) { after_step_ = std::move(after); }
  const engine::EngineCore& core() const { return *core_; }
  const engine::EngineOptions& options() const { return options_; }
  int32_t context_tokens_max() const { return limits_.context_tokens_max(); }

 private:
  absl::Duration Now() const { return process_->queue().Monotonic(); }
  void Wake(absl::Duration delay);
  void Turn();
  void ReportLoad(bool stepped);

  const std::shared_ptr<Process> process_;
  const engine::EngineOptions options_;
  const engine::SequenceLimits limits_;
  engine::Observer& observer_;
  engine::AdmissionGate gate_;
  std::unique_ptr<engine::SwapStore> swap_;
  std::unique_ptr<engine::EngineCore> core_;
  std::vector<std::pair<engine::Command, absl::Duration>> mailbox_;
  AfterStep after_step_;
  uint64_t turn_ = 0;      // of the wake-up that counts
  bool stepping_ = false;  // a step is under way: nobody wakes it
  bool idle_told_ = false;
  absl::Duration last_report_;
  int slowness_ = 1;
  absl::Duration hang_;
  std::optional<absl::Duration> hung_since_;
};

}  // namespace baton::simulation
