#include "services/cli/bench/workload.h"

#include <algorithm>

#include "gtest/gtest.h"

namespace baton::cli {
namespace {

BenchOptions Options(const char* prompt, const char* output) {
  BenchOptions options;
  options.prompt_text = prompt;
  options.output_text = output;
  EXPECT_TRUE(options.Validate().ok());
  return options;
}

constexpr Workload::Limits kLimits{.vocab = 5000, .context_tokens = 1000};

TEST(WorkloadTest, TheSameSeedIsTheSameLoad) {
  BenchOptions options = Options("lognormal:100,0.8", "uniform:1-50");
  options.rate = 10;
  Workload a(options, kLimits, {}), b(options, kLimits, {});
  for (int i = 0; i < 50; ++i) {
    const PlannedRequest x = a.Next(), y = b.Next();
    EXPECT_EQ(x.prompt, y.prompt);
    EXPECT_EQ(x.arrival, y.arrival);
    EXPECT_EQ(x.output_tokens, y.output_tokens);
  }
}

TEST(WorkloadTest, EveryRequestFitsTheContextAndTheVocabulary) {
  const BenchOptions options = Options("lognormal:800,1.5", "lognormal:800,1.5");
  Workload workload(options, kLimits, {});
  for (int i = 0; i < 500; ++i) {
    const PlannedRequest request = workload.Next();
    EXPECT_GE(request.prompt.size(), 1u);
    EXPECT_GE(request.output_tokens, 1);
    EXPECT_LE(static_cast<int>(request.prompt.size()) + request.output_tokens, 1000);
    for (const int32_t id : request.prompt) ASSERT_TRUE(id >= 0 && id < 5000) << id;
  }
}

TEST(WorkloadTest, PoissonArrivalsComeAtTheirRate) {
  BenchOptions options = Options("8", "8");
  options.rate = 50;
  Workload workload(options, kLimits, {});
  absl::Duration last;
  for (int i = 0; i < 5000; ++i) last = workload.Next().arrival;
  EXPECT_NEAR(absl::ToDoubleSeconds(last), 100, 6);  // 4 standard deviations
}

TEST(WorkloadTest, SharedPrefixesAreSharedByTheirShare) {
  BenchOptions options = Options("100", "8");
  options.shared_share = 0.5;
  options.shared_tokens = 64;
  Workload workload(options, kLimits, {});
  std::vector<std::vector<int32_t>> heads;
  for (int i = 0; i < 1000; ++i) {
    const std::vector<int32_t> prompt = workload.Next().prompt;
    heads.emplace_back(prompt.begin(), prompt.begin() + 64);
  }
  std::sort(heads.begin(), heads.end());
  size_t best = 0, run = 0;
  for (size_t i = 0; i < heads.size(); ++i) {
    run = i > 0 && heads[i] == heads[i - 1] ? run + 1 : 1;
    best = std::max(best, run);
  }
  EXPECT_NEAR(static_cast<double>(best), 500, 64);
}

TEST(WorkloadTest, PromptsAreCutFromTheCorpus) {
  const BenchOptions options = Options("10", "8");
  Workload workload(options, kLimits, {1, 2, 3, 4, 5});
  const std::vector<int32_t> prompt = workload.Next().prompt;
  for (size_t i = 1; i < prompt.size(); ++i) EXPECT_EQ(prompt[i], prompt[i - 1] % 5 + 1);
}

TEST(WorkloadTest, ATraceIsReplayedFromItsFirstRequestOnAtTheSpeedThatIsAskedFor) {
  BenchOptions options = Options("10", "8");
  options.trace = "recorded.jsonl";
  options.trace_speed = 2;
  const TraceRequest first{
      .at = absl::Seconds(5), .chunks = {7}, .prompt_tokens = 100, .output_tokens = 3};
  TraceRequest second = first;
  second.at = absl::Seconds(6);
  second.output_tokens = 4;
  Workload workload(options, kLimits, {}, {first, second});
  const PlannedRequest a = workload.Next(), b = workload.Next();
  EXPECT_EQ(a.arrival, absl::ZeroDuration());
  EXPECT_EQ(b.arrival, absl::Milliseconds(500));
  EXPECT_EQ(a.prompt, b.prompt);
  EXPECT_EQ(b.output_tokens, 4);
  for (const int32_t id : a.prompt) ASSERT_TRUE(id >= 1000 && id < 5000) << id;
}

TEST(WorkloadTest, ARequestThatDoesNotFitTheContextIsNamed) {
  const TraceRequest fits{.prompt_tokens = 900, .output_tokens = 100};
  TraceRequest does_not = fits;
  does_not.at = absl::Milliseconds(1234);
  does_not.output_tokens = 101;
  EXPECT_TRUE(Workload::FitsLimits({fits}, kLimits).ok());
  const absl::Status status = Workload::FitsLimits({fits, does_not}, kLimits);
  EXPECT_NE(status.ToString().find("1234 ms"), std::string::npos) << status;
}

TEST(LengthDistributionTest, NonsenseIsRefused) {
  for (const char* text :
       {"", "0", "-1", "uniform:5", "uniform:9-3", "lognormal:10", "zipf:3", "x"}) {
    EXPECT_FALSE(LengthDistribution::Parse(text).ok()) << text;
  }
}

TEST(LengthDistributionTest, TheMedianOfALognormalIsItsFirstNumber) {
  std::mt19937_64 random(3);
  const auto lengths = LengthDistribution::Parse("lognormal:200,0.5");
  std::vector<int32_t> drawn(4001);
  for (int32_t& length : drawn) length = lengths->Draw(random, 100000);
  std::nth_element(drawn.begin(), drawn.begin() + 2000, drawn.end());
  EXPECT_NEAR(drawn[2000], 200, 10);
}

}  // namespace
}  // namespace baton::cli
