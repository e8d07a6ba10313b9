// Writers and readers in processes of their own, and what is left when one of them is killed. This
// process never opens UCX: it only tells the others what to do.
#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>
#include <string>

#include "common/base/check.h"
#include "common/transfer/ucx/ucx_worker.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

extern char** environ;

namespace baton::transfer {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

constexpr size_t kRegionBytes = 32 << 20;

class PeerProcess {
 public:
  explicit PeerProcess(const std::string& transports) {
    int to[2], from[2];
    CHECK(::pipe2(to, O_CLOEXEC) == 0 && ::pipe2(from, O_CLOEXEC) == 0, "pipe: errno {}", errno);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, to[0], 0);
    posix_spawn_file_actions_adddup2(&actions, from[1], 1);
    const char* folder = std::getenv("BATON_BIN_DIR");
    CHECK(folder != nullptr, "BATON_BIN_DIR names the folder of transfer_test_peer; ctest sets it");
    const std::string binary = std::string(folder) + "/transfer_test_peer";
    std::string bytes = std::to_string(kRegionBytes), mode = transports,
                name = "transfer_test_peer";
    char* arguments[] = {name.data(), mode.data(), bytes.data(), nullptr};
    CHECK(::posix_spawn(&pid_, binary.c_str(), &actions, nullptr, arguments, environ) == 0, "no {}",
          binary);
    posix_spawn_file_actions_destroy(&actions);
    ::close(to[0]);
    ::close(from[1]);
    to_ = to[1];
    from_ = from[0];
    description_ = ReadLine();
  }
  ~PeerProcess() {
    Kill();
    ::close(to_);
    ::close(from_);
  }
  PeerProcess(const PeerProcess&) = delete;
  PeerProcess& operator=(const PeerProcess&) = delete;

  std::string Ask(const std::string& command) {
    const std::string line = command + "\n";
    CHECK(::write(to_, line.data(), line.size()) == ssize_t(line.size()), "peer {} is deaf", pid_);
    return ReadLine();
  }
  // kill -9, and reaped.
  void Kill() {
    if (pid_ == 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
    pid_ = 0;
  }
  // Ends as a worker does that is told to; its exit status.
  int Quit() {
    CHECK(::write(to_, "quit\n", 5) == 5, "peer {} is deaf", pid_);
    int outcome = -1;
    ::waitpid(pid_, &outcome, 0);
    pid_ = 0;
    return outcome;
  }
  void Signal(int signal) { ::kill(pid_, signal); }
  pid_t pid() const { return pid_; }
  const std::string& description() const { return description_; }

 private:
  // "" when nothing comes within the patience of any of these tests.
  std::string ReadLine() {
    std::string line;
    for (char c = 0;;) {
      pollfd ready{from_, POLLIN, 0};
      if (::poll(&ready, 1, 20'000) <= 0 || ::read(from_, &c, 1) <= 0) return "";
      if (c == '\n') return line;
      line += c;
    }
  }

  pid_t pid_ = 0;
  int to_ = -1;
  int from_ = -1;
  std::string description_;
};

// Names in /dev/shm and ids of System V segments made by any of `pids`.
std::set<std::string> SharedMemoryOf(const std::set<pid_t>& pids) {
  std::set<std::string> found;
  std::ifstream segments("/proc/sysvipc/shm");
  std::string line;
  std::getline(segments, line);  // key shmid perms size cpid lpid …
  while (std::getline(segments, line)) {
    std::istringstream fields(line);
    std::string key, id, permissions, size;
    pid_t creator = 0;
    fields >> key >> id >> permissions >> size >> creator;
    if (pids.contains(creator)) found.insert("sysv " + id);
  }
  for (const auto& entry : std::filesystem::directory_iterator("/dev/shm")) {
    if (entry.path().filename().string().find("ucx") != std::string::npos)
      found.insert(entry.path());
  }
  return found;
}

class UcxProcessTest : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    if (IsTcp() && !NetworkSurvivesPeers().ok()) GTEST_SKIP() << NetworkSurvivesPeers();
  }
  void Connect(PeerProcess& from, const PeerProcess& to) {
    ASSERT_EQ(from.Ask("connect " + to.description()), IsTcp() ? "tcp" : "shared memory");
  }
  bool IsTcp() const { return std::string(GetParam()) == "network"; }
};

TEST_P(UcxProcessTest, PatternsOfEverySizeArrive) {
  PeerProcess writer(GetParam()), reader(GetParam());
  Connect(writer, reader);
  int seed = 10;
  for (const char* shape :
       {"8 1", "8 1000", "4096 64", "16384 512", "65536 256", "1048576 8", "16777216 2"}) {
    const std::string pattern = std::string(shape) + " " + std::to_string(++seed);
    ASSERT_EQ(writer.Ask("put " + pattern), "OK") << pattern;
    ASSERT_EQ(reader.Ask("check " + pattern), "OK") << pattern;
  }
  EXPECT_EQ(writer.Quit(), 0);
  EXPECT_EQ(reader.Quit(), 0);
}

TEST_P(UcxProcessTest, TwoProcessesPutIntoEachOther) {
  PeerProcess one(GetParam()), other(GetParam());
  Connect(one, other);
  Connect(other, one);
  for (int round = 0; round < 5; ++round) {
    const std::string to_other = "65536 128 " + std::to_string(100 + round);
    const std::string to_one = "65536 128 " + std::to_string(200 + round);
    ASSERT_EQ(one.Ask("put " + to_other), "OK");
    ASSERT_EQ(other.Ask("put " + to_one), "OK");
    ASSERT_EQ(other.Ask("check " + to_other), "OK");
    ASSERT_EQ(one.Ask("check " + to_one), "OK");
  }
}

TEST_P(UcxProcessTest, AWriterKilledInMidTransferIsGoneAndItsReaderGoesOn) {
  PeerProcess reader(GetParam()), next(GetParam());
  Connect(next, reader);
  {
    PeerProcess writer(GetParam());
    Connect(writer, reader);
    Connect(reader, writer);
    ASSERT_EQ(writer.Ask("flood"), "flooding");
    ASSERT_EQ(reader.Ask("probe"), "alive");
    writer.Kill();
  }
  std::string state;
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  do {
    state = reader.Ask("probe");
    ASSERT_LT(std::chrono::steady_clock::now(), deadline) << state;
    if (!IsTcp()) {
      ASSERT_EQ(state, "gone") << "shared memory: its death is certain at once";
    }
  } while (state != "gone");

  // What the next writer puts is never overwritten by the dead one.
  ASSERT_EQ(next.Ask("put 65536 512 7"), "OK");
  for (int look = 0; look < 20; ++look) ASSERT_EQ(reader.Ask("check 65536 512 7"), "OK");
}

TEST_P(UcxProcessTest, AKilledReaderEndsTheTransfersToIt) {
  PeerProcess writer(GetParam());
  {
    PeerProcess reader(GetParam());
    Connect(writer, reader);
    ASSERT_EQ(writer.Ask("flood"), "flooding");
    reader.Kill();
  }
  EXPECT_THAT(writer.Ask("flood-end"), StartsWith("UNAVAILABLE"));
  EXPECT_THAT(writer.Ask("put 4096 1 1"), HasSubstr("gone"));

  PeerProcess successor(GetParam());
  Connect(writer, successor);
  EXPECT_EQ(writer.Ask("put 4096 1 3"), "OK");
  EXPECT_EQ(successor.Ask("check 4096 1 3"), "OK");
}

TEST_P(UcxProcessTest, DisconnectEndsTransfersToAFrozenReader) {
  PeerProcess writer(GetParam()), reader(GetParam());
  Connect(writer, reader);
  ASSERT_EQ(writer.Ask("flood"), "flooding");
  reader.Signal(SIGSTOP);
  ASSERT_EQ(writer.Ask("disconnect"), "disconnected");
  EXPECT_NE(writer.Ask("flood-end"), "");
  reader.Signal(SIGCONT);
  Connect(writer, reader);
  EXPECT_EQ(writer.Ask("put 4096 100 5"), "OK");
  EXPECT_EQ(reader.Ask("check 4096 100 5"), "OK");
}

TEST_P(UcxProcessTest, NothingOutlivesKilledProcesses) {
  std::set<pid_t> pids;
  {
    PeerProcess writer(GetParam()), reader(GetParam());
    Connect(writer, reader);
    ASSERT_EQ(writer.Ask("flood"), "flooding");
    pids = {writer.pid(), reader.pid()};
    EXPECT_EQ(SharedMemoryOf(pids).empty(), IsTcp());  // so the look is not blind
  }
  EXPECT_THAT(SharedMemoryOf(pids), testing::IsEmpty());
}

TEST_P(UcxProcessTest, AWriterReturnsTheMemoryOfAReaderThatDied) {
  PeerProcess writer(GetParam());
  std::set<pid_t> reader_pid;
  {
    PeerProcess reader(GetParam());
    reader_pid = {reader.pid()};
    Connect(writer, reader);
    ASSERT_EQ(writer.Ask("put 4096 1 1"), "OK");
  }
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(5);
  while (!SharedMemoryOf(reader_pid).empty() && std::chrono::steady_clock::now() < deadline) {
    ASSERT_NE(writer.Ask("probe"), "alive");
  }
  EXPECT_THAT(SharedMemoryOf(reader_pid), testing::IsEmpty());
}

TEST_P(UcxProcessTest, IdleProcessesSleep) {
  PeerProcess writer(GetParam()), reader(GetParam());
  Connect(writer, reader);
  ASSERT_EQ(writer.Ask("put 65536 64 1"), "OK");
  EXPECT_LT(std::stoll(writer.Ask("idle-cpu")), 10'000) << "microseconds in a second";
  EXPECT_LT(std::stoll(reader.Ask("idle-cpu")), 10'000) << "microseconds in a second";
}

INSTANTIATE_TEST_SUITE_P(Paths, UcxProcessTest, testing::Values("auto", "network"),
                         [](const auto& info) {
                           return std::string(info.param) == "auto" ? "SharedMemory" : "Tcp";
                         });

}  // namespace
}  // namespace baton::transfer
