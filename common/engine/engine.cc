#include "common/engine/engine.h"

#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <thread>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "common/concurrency/mailbox.h"
#include "common/engine/admission_gate.h"
#include "common/engine/engine_core.h"
#include "common/engine/sequence_limits.h"

namespace baton::engine {
namespace {

struct Posted {
  Command command;
  absl::Duration at;  // monotonic
};

// The engine thread and its mailbox around an EngineCore.
class ThreadedEngine : public Engine {
 public:
  ThreadedEngine(const EngineOptions& options, model::ModelRunner& runner, Observer& observer,
                 const Clock& clock, std::unique_ptr<SwapStore> swap,
                 std::unique_ptr<KvMirror> mirror)
      : options_(options),
        limits_(options, runner.info()),
        observer_(observer),
        clock_(clock),
        swap_(std::move(swap)),
        mirror_(std::move(mirror)),
        gate_(options.waiting_sequences_max, options.waiting_tokens_max),
        core_(options, runner, observer, clock, swap_.get(), gate_, mirror_.get()),
        load_(core_.Load()),
        thread_([this] { Run(); }) {}

  ~ThreadedEngine() override {
    gate_.Close(Refuse::kEverything);
    mailbox_.Close();
    thread_.join();
  }

  absl::Status Post(Command command) override;
  void Drain(Refuse what) override { gate_.Close(what); }
  bool idle() const override { return quiet_.load() && nothing_left(); }
  LoadReport load() const override {
    absl::MutexLock lock(&load_mutex_);
    return load_;
  }
  absl::Duration step_age() const override {
    const absl::Duration began = absl::Nanoseconds(step_began_ns_.load());
    return began == absl::ZeroDuration() ? began : clock_.Monotonic() - began;
  }
  std::vector<StepRecord> timeline() const override { return core_.timeline().Snapshot(); }

 private:
  absl::Status PostWork(const WorkKey& key, int64_t prompt_tokens, Command&& command);
  bool nothing_left() const { return gate_.empty() && core_.num_quarantined_epochs() == 0; }
  void Run();
  void HandleAll(std::vector<Posted> posted);
  absl::Duration Patience() const;
  void ReportLoad(bool stepped);

  const EngineOptions options_;
  const SequenceLimits limits_;
  Observer& observer_;
  const Clock& clock_;
  const std::unique_ptr<SwapStore> swap_;
  const std::unique_ptr<KvMirror> mirror_;
  AdmissionGate gate_;
  // Bounded by the gate: every other command belongs to work that was let in.
  Mailbox<Posted> mailbox_{0};

  EngineCore core_;             // engine thread only
  absl::Duration last_report_;  // engine thread only
  bool taken_since_report_ = false;
  // Nothing has happened since the last load report, which said that the engine is idle.
  std::atomic<bool> quiet_ = true;
  std::atomic<int64_t> step_began_ns_ = 0;  // 0: the engine waits for work
  mutable absl::Mutex load_mutex_;
  LoadReport load_ ABSL_GUARDED_BY(load_mutex_);
  std::thread thread_;  // last: it uses all of the above
};

bool IsWork(const Command& command) {
  return std::holds_alternative<Submit>(command) || std::holds_alternative<SubmitPrefill>(command);
}

absl::Status ThreadedEngine::Post(Command command) {
  if (const auto* submit = std::get_if<Submit>(&command)) {
    RETURN_IF_ERROR(limits_.Check(submit->spec));
    return PostWork({submit->spec.id}, submit->spec.prompt.size(), std::move(command));
  }
  if (const auto* prefill = std::get_if<SubmitPrefill>(&command)) {
    RETURN_IF_ERROR(limits_.Check(*prefill));
    return PostWork({prefill->spec.id, /*prefill_only=*/true, prefill->epoch},
                    prefill->spec.prompt.size(), std::move(command));
  }
  mailbox_.Push({std::move(command), clock_.Monotonic()});
  return absl::OkStatus();
}

absl::Status ThreadedEngine::PostWork(const WorkKey& key, int64_t prompt_tokens,
                                      Command&& command) {
  RETURN_IF_ERROR(gate_.Enter(key, prompt_tokens));
  if (mailbox_.Push({std::move(command), clock_.Monotonic()})) return absl::OkStatus();
  gate_.LeaveQueue(prompt_tokens);
  gate_.Leave(key);
  return FailedPrecondition("the engine has stopped");
}

void ThreadedEngine::Run() {
  pthread_setname_np(pthread_self(), "engine");
  bool busy = false;
  while (!mailbox_.closed()) {
    std::vector<Posted> posted = busy ? mailbox_.Drain() : mailbox_.WaitAndDrain(Patience());
    step_began_ns_.store(absl::ToInt64Nanoseconds(clock_.Monotonic()));
    HandleAll(std::move(posted));
    // Before the step: it may take long, and until the next report routers do not know of what has
    // just been taken.
    busy = core_.Step([this] { ReportLoad(/*stepped=*/true); });
    if (!busy) ReportLoad(/*stepped=*/false);
    step_began_ns_.store(0);
  }
  HandleAll(mailbox_.Drain());
  core_.Shutdown();
  ReportLoad(false);
}

void ThreadedEngine::HandleAll(std::vector<Posted> posted) {
  if (!posted.empty()) quiet_.store(false);
  for (Posted& message : posted) {
    taken_since_report_ = taken_since_report_ || IsWork(message.command);
    core_.Handle(std::move(message.command), message.at);
  }
}

absl::Duration ThreadedEngine::Patience() const {
  const absl::Duration to_deadline = core_.next_deadline() - clock_.Monotonic();
  return std::clamp(to_deadline, absl::ZeroDuration(), options_.load_report_interval);
}

void ThreadedEngine::ReportLoad(bool stepped) {
  const absl::Duration now = clock_.Monotonic();
  const bool is_idle = !stepped && nothing_left();
  // Soon after new work, so that other routers do not add theirs to what seems a free worker.
  const absl::Duration interval = taken_since_report_ ? options_.load_report_interval_with_new_work
                                                      : options_.load_report_interval;
  const bool due = now - last_report_ >= interval;
  if (!due && (!is_idle || quiet_.load())) return;
  const LoadReport load = core_.Load();
  {
    absl::MutexLock lock(&load_mutex_);
    load_ = load;
  }
  last_report_ = now;
  taken_since_report_ = false;
  observer_.OnLoad(load);
  quiet_.store(is_idle);
}

absl::Status AtLeast(std::string_view field, int64_t value, int64_t least) {
  if (value >= least) return absl::OkStatus();
  return InvalidArgument("{} must be at least {}, got {}", field, least, value);
}

}  // namespace

absl::Status EngineOptions::Validate() const {
  if (block_tokens != 16 && block_tokens != 32 && block_tokens != 64) {
    return InvalidArgument("block_tokens must be 16, 32 or 64, got {}", block_tokens);
  }
  RETURN_IF_ERROR(AtLeast("num_blocks", num_blocks, 2));
  RETURN_IF_ERROR(AtLeast("num_spares", num_spares, 0));
  RETURN_IF_ERROR(AtLeast("host_blocks", host_blocks, 0));
  RETURN_IF_ERROR(AtLeast("batch_sequences_max", batch_sequences_max, 1));
  RETURN_IF_ERROR(AtLeast("waiting_sequences_max", waiting_sequences_max, 1));
  RETURN_IF_ERROR(AtLeast("waiting_tokens_max", waiting_tokens_max, 1));
  if (step_tokens_max < batch_sequences_max) {
    return InvalidArgument("step_tokens_max ({}) is below batch_sequences_max ({})",
                           step_tokens_max, batch_sequences_max);
  }
  if (load_report_interval <= absl::ZeroDuration()) {
    return InvalidArgument("load_report_interval must be above 0, got {}",
                           absl::FormatDuration(load_report_interval));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Engine>> Engine::Start(const EngineOptions& options,
                                                      model::ModelRunner& runner,
                                                      Observer& observer, const Clock& clock,
                                                      std::unique_ptr<SwapStore> swap,
                                                      std::unique_ptr<KvMirror> mirror) {
  RETURN_IF_ERROR(options.Validate());
  const int32_t slots = swap == nullptr ? 0 : swap->num_slots();
  if (slots < options.host_blocks) {
    return InvalidArgument("host_blocks is {}, but the swap store has {} slots",
                           options.host_blocks, slots);
  }
  return std::make_unique<ThreadedEngine>(options, runner, observer, clock, std::move(swap),
                                          std::move(mirror));
}

}  // namespace baton::engine
