#include "services/cli/up/child.h"

#include <poll.h>
#include <signal.h>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "services/cli/up/backoff.h"

namespace baton::cli {
namespace {

// Reads until the child has closed its output; the test's time-out is the limit.
std::vector<std::string> ReadAll(Child& child) {
  std::vector<std::string> all;
  while (child.output_fd() >= 0) {
    pollfd entry{child.output_fd(), POLLIN, 0};
    poll(&entry, 1, 1000);
    for (std::string& line : child.ReadLines()) all.push_back(std::move(line));
  }
  return all;
}

ExitState WaitFor(Child& child) {
  for (;;) {
    if (auto exit = child.Reap()) return *exit;
    poll(nullptr, 0, 1);
  }
}

TEST(ChildTest, LinesOfBothStreamsArriveAndTheCodeIsTold) {
  auto child = Child::Spawn({"/bin/sh", "-c", "echo one; echo two >&2; printf three; exit 7"});
  ASSERT_TRUE(child.ok()) << child.status();
  EXPECT_THAT(ReadAll(**child), testing::ElementsAre("one", "two", "three"));
  const ExitState exit = WaitFor(**child);
  EXPECT_EQ(exit.code, 7);
  EXPECT_EQ(exit.text(), "exited with code 7");
}

TEST(ChildTest, ASignalReachesTheWholeGroup) {
  auto child = Child::Spawn({"/bin/sh", "-c", "sleep 1000 & echo started; wait"});
  ASSERT_TRUE(child.ok());
  pollfd entry{(*child)->output_fd(), POLLIN, 0};
  ASSERT_EQ(poll(&entry, 1, 10000), 1);
  (*child)->Signal(SIGKILL);
  EXPECT_EQ(WaitFor(**child).signal, SIGKILL);
  ReadAll(**child);  // ends only when the grandchild has let go of the pipe, too
}

TEST(ChildTest, AProgramThatIsNotThereIsAnErrorWithItsName) {
  auto child = Child::Spawn({"/no/such/program"});
  ASSERT_FALSE(child.ok());
  EXPECT_THAT(MessageOf(child.status()), testing::HasSubstr("/no/such/program: No such file"));
}

TEST(ChildTest, LongLinesAreCut) {
  auto child = Child::Spawn({"/bin/sh", "-c", "head -c 100000 /dev/zero | tr '\\0' x; echo"});
  ASSERT_TRUE(child.ok());
  for (const std::string& line : ReadAll(**child)) EXPECT_LE(line.size(), 4096u);
}

TEST(BackoffTest, DeathsInARowWaitLongerAndStableLivesForgive) {
  Backoff backoff(absl::Milliseconds(200), absl::Seconds(1));
  EXPECT_EQ(backoff.AfterDeath(absl::Seconds(1)), absl::Milliseconds(200));
  EXPECT_EQ(backoff.AfterDeath(absl::Seconds(1)), absl::Milliseconds(400));
  EXPECT_EQ(backoff.AfterDeath(absl::Seconds(1)), absl::Milliseconds(800));
  EXPECT_EQ(backoff.AfterDeath(absl::Seconds(1)), absl::Seconds(1));
  EXPECT_EQ(backoff.AfterDeath(absl::Minutes(1)), absl::Milliseconds(200));
  EXPECT_EQ(backoff.deaths_in_a_row(), 1);
}

}  // namespace
}  // namespace baton::cli
