#include "common/telemetry/line_writer.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include "fmt/format.h"

namespace baton::telemetry {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::SizeIs;

class LineWriterTest : public ::testing::Test {
 protected:
  LineWriterTest() {
    EXPECT_EQ(pipe2(pipe_, O_CLOEXEC), 0);
    fcntl(pipe_[0], F_SETFL, O_NONBLOCK);
    // Two pages: a pipe has room as long as a whole page is free.
    EXPECT_EQ(fcntl(pipe_[1], F_SETPIPE_SZ, 8192), 8192);
  }
  ~LineWriterTest() override {
    close(pipe_[0]);
    close(pipe_[1]);
  }
  std::string ReadAll() {
    std::string all(1 << 16, '\0');
    const ssize_t got = read(pipe_[0], all.data(), all.size());
    all.resize(got > 0 ? static_cast<size_t>(got) : 0);
    return all;
  }

  int pipe_[2];
};

std::string Lost(uint64_t lost) { return fmt::format("{} lost", lost); }

TEST_F(LineWriterTest, LinesComeWholeAndInOrder) {
  LineWriter writer(pipe_[1], Lost);
  writer.Write("one");
  writer.Write("two");
  EXPECT_EQ(ReadAll(), "one\ntwo\n");
}

// Would hang where a writer waits for its reader.
TEST_F(LineWriterTest, AReaderThatReadsNothingCostsLinesNotTime) {
  LineWriter writer(pipe_[1], Lost);
  const std::string line(99, 'x');
  for (int i = 0; i < 1000; ++i) writer.Write(line);
  EXPECT_THAT(ReadAll(), EndsWith("x\n")) << "no line is torn";
  writer.Write("again");
  const std::string later = ReadAll();
  EXPECT_THAT(later, HasSubstr(" lost\nagain\n"));
  const int lost = std::stoi(later);
  EXPECT_GT(lost, 900);
  EXPECT_LT(lost, 1000);
  writer.Write("and again");
  EXPECT_EQ(ReadAll(), "and again\n") << "said once";
}

TEST_F(LineWriterTest, ALineThatAPipeMightTearIsCut) {
  LineWriter writer(pipe_[1], Lost);
  writer.Write(std::string(5000, 'x'));
  EXPECT_THAT(ReadAll(), SizeIs(LineWriter::kBytesMax));
}

TEST_F(LineWriterTest, AReaderThatIsGoneIsNoMatter) {
  signal(SIGPIPE, SIG_IGN);
  LineWriter writer(pipe_[1], Lost);
  close(pipe_[0]);
  writer.Write("into nothing");
  pipe_[0] = dup(pipe_[1]);  // something to close
}

TEST_F(LineWriterTest, AFileTakesLinesOfAnyLength) {
  char path[] = "line_writer_XXXXXX";
  const int fd = mkstemp(path);
  unlink(path);
  LineWriter writer(fd, Lost);
  writer.Write(std::string(100'000, 'x'));
  EXPECT_EQ(lseek(fd, 0, SEEK_END), 100'001);
  close(fd);
}

// /dev/full answers every write as a full disk does.
TEST_F(LineWriterTest, LinesAreLostUntilTheDiskHasRoom) {
  const int fd = open("/dev/full", O_WRONLY);
  LineWriter writer(fd, Lost);
  writer.Write("one");
  writer.Write("two");
  dup2(pipe_[1], fd);
  writer.Write("three");
  EXPECT_EQ(ReadAll(), "2 lost\nthree\n");
  close(fd);
}

}  // namespace
}  // namespace baton::telemetry
