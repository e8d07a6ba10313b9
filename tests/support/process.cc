#include "tests/support/process.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "common/base/check.h"

namespace baton::testing {
namespace {

std::string TemporaryPath(const char* pattern) {
  return (std::filesystem::temp_directory_path() / pattern).string();
}

// Between fork and exec only calls that are safe there.
[[noreturn]] void RunChild(const std::string& path, char* const* argv, int log) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  dup2(log, STDERR_FILENO);
  execv(path.c_str(), argv);
  _exit(127);
}

}  // namespace

Process::Process(const std::string& binary, const std::vector<std::string>& args) {
  const char* folder = std::getenv("BATON_BIN_DIR");
  CHECK(folder != nullptr, "run by ctest, or set BATON_BIN_DIR to the build's bin folder");
  const std::string path = std::string(folder) + "/" + binary;
  std::vector<char*> argv{const_cast<char*>(path.c_str())};
  for (const std::string& arg : args) argv.push_back(const_cast<char*>(arg.c_str()));
  argv.push_back(nullptr);

  log_path_ = TemporaryPath("baton-test-log-XXXXXX");
  const int log = mkstemp(log_path_.data());
  CHECK(log >= 0, "no log file {}", log_path_);
  pid_ = fork();
  if (pid_ == 0) RunChild(path, argv.data(), log);
  close(log);
}

Process::~Process() {
  if (!reaped_) {
    kill(pid_, SIGKILL);
    waitpid(pid_, &status_, 0);
  }
  if (::testing::Test::HasFailure()) fprintf(stderr, "--- log of %d\n%s---\n", pid_, log().c_str());
  std::filesystem::remove(log_path_);
}

void Process::Signal(int number) { kill(pid_, number); }

bool Process::running() {
  if (!reaped_ && waitpid(pid_, &status_, WNOHANG) == pid_) reaped_ = true;
  return !reaped_;
}

int Process::Wait(absl::Duration patience) {
  if (!Eventually([this] { return !running(); }, patience)) {
    ADD_FAILURE() << "process " << pid_ << " did not end";
    kill(pid_, SIGKILL);
    waitpid(pid_, &status_, 0);
    reaped_ = true;
  }
  return WIFSIGNALED(status_) ? 128 + WTERMSIG(status_) : WEXITSTATUS(status_);
}

std::string Process::log() const {
  std::stringstream text;
  text << std::ifstream(log_path_).rdbuf();
  return text.str();
}

ScratchFolder::ScratchFolder() : path_(TemporaryPath("baton-test-XXXXXX")) {
  CHECK(mkdtemp(path_.data()) != nullptr, "no scratch folder {}", path_);
}

ScratchFolder::~ScratchFolder() { std::filesystem::remove_all(path_); }

std::string SourceFile(const std::string& relative) {
  const char* source = std::getenv("BATON_SOURCE_DIR");
  CHECK(source != nullptr, "run by ctest, or set BATON_SOURCE_DIR");
  return std::string(source) + "/" + relative;
}

}  // namespace baton::testing
