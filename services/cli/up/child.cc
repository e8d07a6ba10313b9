#include "services/cli/up/child.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

namespace baton::cli {
namespace {

constexpr size_t kLineBytesMax = 4096;

// Between fork and exec: async-signal-safe calls only. Returns errno when exec failed.
int BecomeProgram(char* const* argv, int output, pid_t parent) {
  setpgid(0, 0);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(1);  // the parent died before prctl
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  const int nothing = open("/dev/null", O_RDONLY);
  dup2(nothing, STDIN_FILENO);
  dup2(output, STDOUT_FILENO);
  dup2(output, STDERR_FILENO);
  execv(argv[0], argv);
  return errno;
}

void CloseBoth(const int fds[2]) {
  close(fds[0]);
  close(fds[1]);
}

}  // namespace

std::string ExitState::text() const {
  if (signal != 0) return fmt::format("killed by signal {} ({})", signal, strsignal(signal));
  return fmt::format("exited with code {}", code);
}

absl::StatusOr<std::unique_ptr<Child>> Child::Spawn(const std::vector<std::string>& argv) {
  std::vector<char*> raw;
  for (const std::string& argument : argv) raw.push_back(const_cast<char*>(argument.c_str()));
  raw.push_back(nullptr);
  int output[2], failure[2];
  if (pipe2(output, O_CLOEXEC) != 0) return Internal("pipe: {}", strerror(errno));
  if (pipe2(failure, O_CLOEXEC) != 0) {
    CloseBoth(output);
    return Internal("pipe: {}", strerror(errno));
  }
  const pid_t parent = getpid();
  const pid_t pid = fork();
  if (pid == 0) {
    const int error = BecomeProgram(raw.data(), output[1], parent);
    [[maybe_unused]] const ssize_t written = write(failure[1], &error, sizeof error);
    _exit(127);
  }
  const int fork_error = errno;
  close(output[1]);
  close(failure[1]);
  int exec_error = 0;
  if (pid > 0) setpgid(pid, pid);  // both sides do it, so that neither has to wait
  const ssize_t got = pid > 0 ? read(failure[0], &exec_error, sizeof exec_error) : 0;
  close(failure[0]);
  if (pid < 0 || got == sizeof exec_error) {
    close(output[0]);
    if (pid > 0) waitpid(pid, nullptr, 0);
    return FailedPrecondition("cannot start {}: {}", argv[0],
                              strerror(pid < 0 ? fork_error : exec_error));
  }
  fcntl(output[0], F_SETFL, O_NONBLOCK);
  return std::unique_ptr<Child>(new Child(pid, output[0]));
}

Child::~Child() {
  if (!reaped_) {
    Signal(SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  if (output_ >= 0) close(output_);
}

std::vector<std::string> Child::ReadLines() {
  std::vector<std::string> lines;
  char buffer[16384];
  while (output_ >= 0) {
    const ssize_t got = read(output_, buffer, sizeof buffer);
    if (got > 0) {
      unfinished_.append(buffer, static_cast<size_t>(got));
      TakeLines(lines, /*rest_too=*/false);
    } else if (got == 0) {
      TakeLines(lines, /*rest_too=*/true);
      close(output_);
      output_ = -1;
    } else if (errno != EINTR) {
      break;
    }
  }
  return lines;
}

void Child::TakeLines(std::vector<std::string>& lines, bool rest_too) {
  size_t begin = 0;
  for (;;) {
    const size_t end = unfinished_.find('\n', begin);
    if (end == std::string::npos) break;
    lines.push_back(unfinished_.substr(begin, std::min(end - begin, kLineBytesMax)));
    begin = end + 1;
  }
  unfinished_.erase(0, begin);
  if (unfinished_.size() > kLineBytesMax || (rest_too && !unfinished_.empty())) {
    lines.push_back(unfinished_.substr(0, kLineBytesMax));
    unfinished_.clear();
  }
}

std::optional<ExitState> Child::Reap() {
  if (reaped_) return exit_;
  int status = 0;
  if (waitpid(pid_, &status, WNOHANG) != pid_) return std::nullopt;
  reaped_ = true;
  if (WIFEXITED(status)) exit_.code = WEXITSTATUS(status);
  if (WIFSIGNALED(status)) exit_.signal = WTERMSIG(status);
  return exit_;
}

void Child::Signal(int signal) {
  if (!reaped_) kill(-pid_, signal);
}

}  // namespace baton::cli
