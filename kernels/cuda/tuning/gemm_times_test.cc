#include "kernels/cuda/tuning/gemm_times.h"

#include <gmock/gmock.h>

#include <fstream>
#include <sstream>

#include "kernels/checksum.h"

namespace baton::kernels::cuda {
namespace {

using ::testing::HasSubstr;

const std::string kSubject = "NVIDIA H200, sm_90; driver 13.0; cuBLASLt 13.1.0";

GemmTimes SomeTimes(int32_t count = 3) {
  GemmTimes times;
  for (int32_t i = 0; i < count; ++i) {
    GemmTime time = {.own_nanoseconds = 100 + i, .library_nanoseconds = i};
    time.candidate.workspace_bytes = size_t(i) * 4096;
    for (size_t word = 0; word < 8; ++word) time.candidate.algorithm.data[word] = ~word << (i % 64);
    times[{{.num_outputs = 4096 + i, .num_inputs = 14336, .has_bias = i % 2 == 1}, i % 13}] = time;
  }
  return times;
}

bool Same(const GemmTimes& a, const GemmTimes& b) {
  return FormatGemmTimes("", a) == FormatGemmTimes("", b);
}

class GemmTimesFileTest : public ::testing::Test {
 protected:
  GemmTimesFileTest() {
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
  }
  std::string Read() const {
    std::ifstream in(file_);
    std::stringstream text;
    text << in.rdbuf();
    return text.str();
  }
  size_t FilesThere() const {
    size_t count = 0;
    for (const auto& entry : std::filesystem::directory_iterator(folder_)) {
      count += entry.is_regular_file();
    }
    return count;
  }
  const std::filesystem::path folder_ =
      std::filesystem::path(::testing::TempDir()) / "gemm_times_test";
  const std::filesystem::path file_ = folder_ / "deep" / "times.txt";
};

TEST(TokenBucketTest, BucketsMeetWithoutGapsOrOverlaps) {
  for (int32_t bucket = 0; bucket < 20; ++bucket) {
    EXPECT_EQ(TokenBucketOf(LeastTokensOf(bucket)), bucket);
    EXPECT_EQ(TokenBucketOf(MostTokensOf(bucket)), bucket);
    EXPECT_EQ(MostTokensOf(bucket) + 1, LeastTokensOf(bucket + 1));
  }
}

TEST(GemmTimesTest, WhatIsWrittenIsRead) {
  const auto read = ParseGemmTimes(kSubject, FormatGemmTimes(kSubject, SomeTimes()));
  ASSERT_TRUE(read.has_value());
  EXPECT_TRUE(Same(*read, SomeTimes()));
}

TEST(GemmTimesTest, AnotherSubjectsTimesAreNone) {
  const std::string text = FormatGemmTimes(kSubject, SomeTimes());
  EXPECT_FALSE(ParseGemmTimes("NVIDIA H100", text).has_value());
  EXPECT_FALSE(ParseGemmTimes(kSubject.substr(0, 10), text).has_value());
}

TEST(GemmTimesTest, EveryDamagedByteAndEveryMissingEndIsNoticed) {
  const std::string text = FormatGemmTimes(kSubject, SomeTimes());
  for (size_t i = 0; i < text.size(); ++i) {
    std::string damaged = text;
    damaged[i] ^= 1;
    EXPECT_FALSE(ParseGemmTimes(kSubject, damaged).has_value()) << "byte " << i;
    EXPECT_FALSE(ParseGemmTimes(kSubject, text.substr(0, i)).has_value()) << i << " bytes";
  }
}

// Whose checksum is right, as of a program with a mistake.
std::string Signed(std::string text) {
  char checksum[32];
  std::snprintf(checksum, sizeof checksum, "checksum %016llx\n",
                static_cast<unsigned long long>(Checksum(text.data(), text.size())));
  return text + checksum;
}

TEST(GemmTimesTest, ALineThatMeansNothingMakesTheFileNone) {
  const std::string head = "baton gemm times 1\n" + kSubject + "\n";
  const std::string tail = " 0 0 0 0 0 0 0 0\n";
  EXPECT_TRUE(ParseGemmTimes(kSubject, Signed(head + "8 8 0 0 0 1 0 0" + tail)).has_value());
  for (const char* line :
       {"0 8 0 0 0 1 0 0", "8 -8 0 0 0 1 0 0", "8 8 2 0 0 1 0 0", "8 8 0 0 31 1 0 0",
        "8 8 0 0 0 0 0 0", "8 8 0 0 0 1 0 99999999999999", "8 8 0 0 0 1 0", "8 8 0 0 0 1 0 0 0",
        "8 8 0 0 0 1 0 x", "8  8 0 0 0 1 0 0", "99999999999 8 0 0 0 1 0 0"}) {
    EXPECT_FALSE(ParseGemmTimes(kSubject, Signed(head + line + tail)).has_value()) << line;
  }
  EXPECT_FALSE(ParseGemmTimes(kSubject, Signed("baton gemm times 2\n" + kSubject + "\n")));
}

TEST(GemmTimesTest, AFileOfMoreThanItEverHoldsIsNone) {
  EXPECT_TRUE(ParseGemmTimes(kSubject, FormatGemmTimes(kSubject, SomeTimes(4096))).has_value());
  EXPECT_FALSE(ParseGemmTimes(kSubject, FormatGemmTimes(kSubject, SomeTimes(4097))).has_value());
}

TEST_F(GemmTimesFileTest, SavingMakesTheFolderAndLeavesOneFile) {
  EXPECT_TRUE(LoadGemmTimes(file_, kSubject).empty());
  ASSERT_EQ(SaveGemmTimes(file_, kSubject, SomeTimes()), std::nullopt);
  EXPECT_TRUE(Same(LoadGemmTimes(file_, kSubject), SomeTimes()));
  ASSERT_EQ(SaveGemmTimes(file_, kSubject, SomeTimes(5)), std::nullopt);
  EXPECT_TRUE(Same(LoadGemmTimes(file_, kSubject), SomeTimes(5)));
  size_t count = 0;
  for ([[maybe_unused]] const auto& entry :
       std::filesystem::directory_iterator(file_.parent_path())) {
    ++count;
  }
  EXPECT_EQ(count, 1u);
}

TEST_F(GemmTimesFileTest, TimesOfOtherModelsStayUntilThereIsNoRoom) {
  ASSERT_EQ(SaveGemmTimes(file_, kSubject, SomeTimes(4096)), std::nullopt);
  const GemmTimes other = {{{{.num_outputs = 8, .num_inputs = 8}, 0}, {.own_nanoseconds = 5}}};
  ASSERT_EQ(SaveGemmTimes(file_, kSubject, other), std::nullopt);
  const GemmTimes all = LoadGemmTimes(file_, kSubject);
  EXPECT_EQ(all.size(), 4096u);
  EXPECT_TRUE(all.contains(other.begin()->first)) << "the latest are kept";
  ASSERT_EQ(SaveGemmTimes(file_, "another GPU", other), std::nullopt);
  EXPECT_EQ(LoadGemmTimes(file_, "another GPU").size(), 1u) << "of another subject nothing stays";
}

TEST_F(GemmTimesFileTest, AFolderThatCannotBeMadeIsNamedAndNothingIsLeft) {
  const auto file = folder_ / "a_file";
  std::ofstream(file) << "not a folder";
  const Error error = SaveGemmTimes(file / "times.txt", kSubject, SomeTimes());
  EXPECT_THAT(error.value_or(""), HasSubstr(file.string()));
  EXPECT_EQ(FilesThere(), 1u);
}

TEST_F(GemmTimesFileTest, APlaceThatIsTakenIsNamedAndTheDraftIsRemoved) {
  const auto place = folder_ / "times.txt";
  std::filesystem::create_directories(place / "full");
  const Error error = SaveGemmTimes(place, kSubject, SomeTimes());
  EXPECT_THAT(error.value_or(""), HasSubstr(place.string()));
  EXPECT_EQ(FilesThere(), 0u);
}

TEST(GemmTimesTest, AFileIsNamedAfterItsGpuInPlainLetters) {
  EXPECT_EQ(GemmTimesFileName("NVIDIA H200", 90), "gemm-NVIDIA_H200-sm90.txt");
  EXPECT_EQ(GemmTimesFileName("../a/b", 80), "gemm-___a_b-sm80.txt");
  EXPECT_LT(GemmTimesFileName(std::string(1000, 'x'), 80).size(), 100u);
}

}  // namespace
}  // namespace baton::kernels::cuda
