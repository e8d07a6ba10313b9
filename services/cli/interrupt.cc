#include "services/cli/interrupt.h"

#include <signal.h>
#include <unistd.h>

#include <cstdio>

namespace baton::cli {
namespace {

constexpr int kWakeUp = SIGUSR1;  // ends the thread

sigset_t Signals() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  sigaddset(&set, kWakeUp);
  return set;
}

}  // namespace

Interrupt::Interrupt() {
  const sigset_t set = Signals();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  thread_ = std::thread([this] { Run(); });
}

Interrupt::~Interrupt() {
  pthread_kill(thread_.native_handle(), kWakeUp);
  thread_.join();
}

void Interrupt::Run() {
  const sigset_t set = Signals();
  for (;;) {
    int signal = 0;
    if (sigwait(&set, &signal) != 0 || signal == kWakeUp) return;
    std::function<void()> action;
    std::lock_guard lock(mutex_);
    std::swap(action, action_);
    if (!action) {
      std::fputs("\n", stdout);
      std::fflush(stdout);
      _exit(130);
    }
    action();
  }
}

Interrupt::Scope::Scope(Interrupt& interrupt, std::function<void()> action)
    : interrupt_(interrupt) {
  std::lock_guard lock(interrupt_.mutex_);
  interrupt_.action_ = std::move(action);
}

Interrupt::Scope::~Scope() {
  std::lock_guard lock(interrupt_.mutex_);
  interrupt_.action_ = nullptr;
}

}  // namespace baton::cli
