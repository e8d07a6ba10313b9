#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "absl/time/time.h"

namespace baton::testing {

// A child process of the test, from the build's bin/ folder. Killed when the object goes, and by
// the kernel when the test dies.
class Process {
 public:
  // Standard error goes to a file that log() reads.
  Process(const std::string& binary, const std::vector<std::string>& args);
  ~Process();
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  pid_t pid() const { return pid_; }
  void Signal(int number);
  // Exit code, or 128 + signal. Fails the test and kills after `patience`.
  int Wait(absl::Duration patience = absl::Seconds(30));
  bool running();
  std::string log() const;

 private:
  pid_t pid_ = 0;
  int status_ = 0;
  bool reaped_ = false;
  std::string log_path_;
};

// A folder that is removed with everything in it.
class ScratchFolder {
 public:
  ScratchFolder();
  ~ScratchFolder();
  const std::string& path() const { return path_; }
  std::string File(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

// Waits until `condition` holds, asking often. False after `patience`.
template <typename Condition>
bool Eventually(Condition condition, absl::Duration patience = absl::Seconds(30));

// A file of the source tree.
std::string SourceFile(const std::string& relative);

}  // namespace baton::testing

#include "absl/time/clock.h"

template <typename Condition>
bool baton::testing::Eventually(Condition condition, absl::Duration patience) {
  const absl::Time until = absl::Now() + patience;
  while (!condition()) {
    if (absl::Now() > until) return false;
    absl::SleepFor(absl::Milliseconds(2));
  }
  return true;
}
