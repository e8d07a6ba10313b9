#pragma once

#include <sys/types.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/base/status.h"

namespace baton::cli {

// How a process ended.
struct ExitState {
  int code = -1;   // when it exited by itself
  int signal = 0;  // when one killed it
  // "exited with code 1", "killed by signal 9 (Killed)"
  std::string text() const;
};

// A child process in a process group of its own, that dies with its parent however that one dies.
// Its stdin is empty; stdout and stderr come through one pipe. Destroying it kills and reaps it.
// Used from one thread, the one that spawned it (the kernel ties the child's life to that thread).
class Child {
 public:
  // `argv[0]` is the path. Errors name it. Every signal is unblocked in the child.
  static absl::StatusOr<std::unique_ptr<Child>> Spawn(const std::vector<std::string>& argv);
  ~Child();
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  pid_t pid() const { return pid_; }
  // To poll for input; -1 once everything has been read.
  int output_fd() const { return output_; }
  // Whole lines that have arrived, without their ends. Never blocks. A last line without an end
  // comes when the pipe closes; lines are cut at 4 KiB.
  std::vector<std::string> ReadLines();
  // Nothing while it runs. Never blocks.
  std::optional<ExitState> Reap();
  // To its whole group. Ignored when it is reaped already.
  void Signal(int signal);

 private:
  Child(pid_t pid, int output) : pid_(pid), output_(output) {}
  void TakeLines(std::vector<std::string>& lines, bool rest_too);

  pid_t pid_;
  int output_;
  bool reaped_ = false;
  ExitState exit_;
  std::string unfinished_;
};

}  // namespace baton::cli
