#include "tests/simulation/worker/sim_engine.h"

#include <algorithm>

namespace baton::simulation {

SimEngine::SimEngine(std::shared_ptr<Process> process, const engine::EngineOptions& options,
                     model::ModelRunner& runner, engine::Observer& observer)
    : process_(std::move(process)),
      options_(options),
      limits_(options, runner.info()),
      observer_(observer),
      gate_(options.waiting_sequences_max, options.waiting_tokens_max) {
  core_ = std::make_unique<engine::EngineCore>(options_, runner, observer_, process_->queue(),
                                               swap_.get(), gate_);
  Wake(options_.load_report_interval);
}

SimEngine::~SimEngine() { core_->Shutdown(); }

absl::Status SimEngine::Post(engine::Command command) {
  if (const auto* submit = std::get_if<engine::Submit>(&command)) {
    RETURN_IF_ERROR(limits_.Check(submit->spec));
    RETURN_IF_ERROR(gate_.Enter({submit->spec.id}, submit->spec.prompt.size()));
  }
  if (const auto* prefill = std::get_if<engine::SubmitPrefill>(&command)) {
    RETURN_IF_ERROR(limits_.Check(*prefill));
    RETURN_IF_ERROR(gate_.Enter({prefill->spec.id, /*prefill_only=*/true, prefill->epoch},
                                prefill->spec.prompt.size()));
  }
  mailbox_.emplace_back(std::move(command), Now());
  idle_told_ = false;
  if (!stepping_) Wake(absl::Microseconds(20));
  return absl::OkStatus();
}

void SimEngine::Wake(absl::Duration delay) {
  process_->After(delay, "step", [this, turn = ++turn_] {
    if (turn == turn_) Turn();
  });
}

void SimEngine::Turn() {
  if (hang_ > absl::ZeroDuration()) {
    stepping_ = true;
    hung_since_ = Now();
    return Wake(std::exchange(hang_, absl::ZeroDuration()));
  }
  hung_since_.reset();
  std::vector<engine::Command> handled;
  for (auto& [command, at] : std::exchange(mailbox_, {})) {
    if (after_step_) handled.push_back(command);
    core_->Handle(std::move(command), at);
  }
  const bool stepped = core_->Step();
  if (after_step_ && (stepped || !handled.empty())) after_step_(handled);
  ReportLoad(stepped);
  stepping_ = stepped;
  if (stepped) {
    Wake(slowness_ * process_->queue().Between(absl::Milliseconds(1), absl::Milliseconds(6)));
  } else if (!mailbox_.empty()) {
    Wake(absl::Microseconds(20));
  } else {
    const absl::Duration to_deadline = core_->next_deadline() - Now();
    Wake(std::clamp(to_deadline, absl::ZeroDuration(), options_.load_report_interval));
  }
}

void SimEngine::ReportLoad(bool stepped) {
  const bool is_idle = !stepped && idle();
  const bool due = Now() - last_report_ >= options_.load_report_interval;
  if (!due && (!is_idle || idle_told_)) return;
  last_report_ = Now();
  observer_.OnLoad(core_->Load());
  idle_told_ = is_idle;
}

}  // namespace baton::simulation
