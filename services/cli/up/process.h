#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "common/base/status.h"
#include "common/telemetry/line_writer.h"
#include "services/cli/up/backoff.h"
#include "services/cli/up/child.h"

namespace baton::cli {

enum class Role : uint8_t { kRouter, kPrefill, kDecode };

// One process of the cluster through all its lives: started, watched, started again. Its output
// goes to a log file of its own. Used from the supervisor's thread.
class Process {
 public:
  Process(Role role, std::string name, const std::string& log_path, Backoff backoff);
  ~Process();

  Role role() const { return role_; }
  const std::string& name() const { return name_; }  // "decode-0"
  bool running() const { return child_ != nullptr; }
  bool ever_ready() const { return ever_ready_; }
  bool ready() const { return ready_; }
  int restarts() const { return restarts_; }
  const Backoff& backoff() const { return backoff_; }
  pid_t pid() const { return child_ ? child_->pid() : 0; }
  int output_fd() const { return child_ ? child_->output_fd() : -1; }
  // When to start it (again); nothing while it runs or is not wanted.
  std::optional<absl::Time> start_at() const { return start_at_; }
  // "loading weights 40 %", "ready", "restarting in 0.4 s".
  std::string StateText(absl::Time now) const;
  // What it said last: errors when there were any, else everything. At most 20 lines.
  std::vector<std::string> LastWords() const;

  void StartAt(absl::Time time) { start_at_ = time; }
  void DoNotStart() { start_at_.reset(); }
  absl::Status Start(const std::vector<std::string>& argv, absl::Time now);
  // Takes what it wrote.
  void ReadOutput();
  void MarkReady(bool ready) {
    ready_ = ready;
    ever_ready_ = ever_ready_ || ready;
  }
  void Signal(int signal) {
    if (child_) child_->Signal(signal);
  }
  // When it has ended: takes its last output and says how. `start_at` is then not set.
  std::optional<ExitState> Reap();
  // After Reap: plans the next life, and returns the pause before it.
  absl::Duration PlanRestart(absl::Time now);

 private:
  const Role role_;
  const std::string name_;
  const int log_fd_;
  telemetry::LineWriter log_;  // a full disk costs lines, not the cluster
  Backoff backoff_;
  std::unique_ptr<Child> child_;
  std::optional<absl::Time> start_at_;
  absl::Time started_at_;
  int restarts_ = -1;
  bool ready_ = false;
  bool ever_ready_ = false;
  std::string progress_;
  std::deque<std::string> errors_, lines_;  // of this life
};

}  // namespace baton::cli
