#include "common/transfer/process_identity.h"

#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

#include "gtest/gtest.h"

namespace baton::transfer {
namespace {

// A child that sleeps until it is killed.
pid_t SleepingChild() {
  const pid_t child = ::fork();
  if (child == 0) {
    while (true) ::pause();
  }
  return child;
}

// Its start time, found by the parent: the one value for which it has not ended.
uint64_t StartOf(pid_t child) {
  const uint64_t ours = ThisProcess().start;
  for (uint64_t start = ours; start < ours + 1'000'000; ++start) {
    if (!HasEnded({child, start})) return start;
  }
  return 0;
}

TEST(ProcessIdentityTest, ThisProcessHasNotEnded) {
  EXPECT_GT(ThisProcess().start, 0u);
  EXPECT_FALSE(HasEnded(ThisProcess()));
}

TEST(ProcessIdentityTest, AReusedPidIsAnotherProcess) {
  ProcessIdentity predecessor = ThisProcess();
  predecessor.start -= 1;
  EXPECT_TRUE(HasEnded(predecessor));
}

TEST(ProcessIdentityTest, APidThatNobodyHasIsGone) { EXPECT_TRUE(HasEnded({1 << 30, 1})); }

TEST(ProcessIdentityTest, AZombieHasEnded) {
  const pid_t child = SleepingChild();
  const ProcessIdentity identity{child, StartOf(child)};
  ASSERT_FALSE(HasEnded(identity));

  ::kill(child, SIGKILL);
  siginfo_t info;
  ASSERT_EQ(::waitid(P_PID, child, &info, WEXITED | WNOWAIT), 0);  // dead, not reaped
  EXPECT_TRUE(HasEnded(identity));
  ::waitpid(child, nullptr, 0);
  EXPECT_TRUE(HasEnded(identity));
}

TEST(ProcessIdentityTest, TheHostIdIsTheSameInAChild) {
  const std::string ours = ThisHostId();
  const pid_t child = ::fork();
  if (child == 0) ::_exit(ThisHostId() == ours ? 0 : 1);
  int outcome = -1;
  ::waitpid(child, &outcome, 0);
  EXPECT_EQ(outcome, 0);
  EXPECT_NE(ours.find("/pid:"), std::string::npos);
}

}  // namespace
}  // namespace baton::transfer
