#include "services/cli/up/log_line.h"

#include "gtest/gtest.h"

namespace baton::cli {
namespace {

TEST(LogLineTest, JsonBecomesALineForPeople) {
  const LogLine line = ReadLogLine(
      R"({"ts":"2026-01-31T14:03:07.123456Z","level":"info","process":"decode-0","room":"model",)"
      R"("msg":"loading weights","percent":40})");
  EXPECT_EQ(line.text, "14:03:07.123 I model: loading weights percent=40");
  EXPECT_EQ(line.message, "loading weights percent=40");
  EXPECT_EQ(line.percent, 40);
  EXPECT_FALSE(line.error);
}

TEST(LogLineTest, ACrashesLastWordsAreKeptAsErrors) {
  const LogLine line = ReadLogLine("CHECK failed: x >= 0");
  EXPECT_EQ(line.text, "CHECK failed: x >= 0");
  EXPECT_TRUE(line.error);
  EXPECT_TRUE(ReadLogLine(R"({"level":"error","msg":"bad model"})").error);
}

}  // namespace
}  // namespace baton::cli
