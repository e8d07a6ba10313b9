#include "services/cli/up/process.h"

#include <fcntl.h>
#include <unistd.h>

#include "services/cli/up/log_line.h"

namespace baton::cli {
namespace {

constexpr size_t kWordsKept = 20;

void Keep(std::deque<std::string>& lines, const std::string& line) {
  lines.push_back(line);
  if (lines.size() > kWordsKept) lines.pop_front();
}

std::string LostLine(uint64_t lost) {
  return fmt::format("baton up: {} lines were lost here: there was no room for them", lost);
}

}  // namespace

Process::Process(Role role, std::string name, const std::string& log_path, Backoff backoff)
    : role_(role),
      name_(std::move(name)),
      log_fd_(open(log_path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644)),
      log_(log_fd_, LostLine),
      backoff_(backoff) {}

Process::~Process() {
  if (log_fd_ >= 0) close(log_fd_);
}

absl::Status Process::Start(const std::vector<std::string>& argv, absl::Time now) {
  start_at_.reset();
  errors_.clear();
  lines_.clear();
  progress_ = "starting";
  ready_ = false;
  ASSIGN_OR_RETURN(child_, Child::Spawn(argv));
  started_at_ = now;
  ++restarts_;
  return absl::OkStatus();
}

void Process::ReadOutput() {
  if (!child_) return;
  for (const std::string& raw : child_->ReadLines()) {
    const LogLine line = ReadLogLine(raw);
    log_.Write(line.text);
    Keep(line.error ? errors_ : lines_, line.message);
    if (line.percent) progress_ = fmt::format("loading weights {} %", *line.percent);
    if (line.percent == 100) progress_ = "loaded, registering";
  }
}

std::optional<ExitState> Process::Reap() {
  if (!child_) return std::nullopt;
  std::optional<ExitState> exit = child_->Reap();
  if (!exit) return std::nullopt;
  ReadOutput();
  child_.reset();
  ready_ = false;
  progress_ = exit->text();
  return exit;
}

absl::Duration Process::PlanRestart(absl::Time now) {
  const absl::Duration pause = backoff_.AfterDeath(now - started_at_);
  start_at_ = now + pause;
  return pause;
}

std::string Process::StateText(absl::Time now) const {
  if (ready_) return "ready";
  if (start_at_ && restarts_ >= 0) {
    return fmt::format("restarting in {:.1f} s",
                       std::max(0.0, absl::ToDoubleSeconds(*start_at_ - now)));
  }
  return progress_.empty() ? "waiting" : progress_;
}

std::vector<std::string> Process::LastWords() const {
  const std::deque<std::string>& words = errors_.empty() ? lines_ : errors_;
  return {words.begin(), words.end()};
}

}  // namespace baton::cli
