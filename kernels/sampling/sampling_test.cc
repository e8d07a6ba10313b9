#include "kernels/sampling.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "kernels/backend.h"
#include "kernels/checksum.h"
#include "kernels/reference/naive_sampling.h"
#include "kernels/sampling/mass.h"
#include "kernels/testing/fixtures.h"
#include "kernels/testing/sampling_fixtures.h"

namespace baton::kernels {
namespace {

using testing::OwnedArgs;
using testing::Random;
using testing::RandomArgs;
using testing::RandomLogits;

void ExpectSame(const SampledToken& got, const SampledToken& want, const SampleArgs& args) {
  ASSERT_EQ(got.token, want.token) << "T " << args.temperature << " k " << args.top_k << " p "
                                   << args.top_p << " min_p " << args.min_p;
  if (args.num_logprobs < 0) return;
  EXPECT_TRUE(got.logprob == want.logprob || std::abs(got.logprob - want.logprob) <= 1e-5)
      << got.logprob << " against " << want.logprob;
  ASSERT_EQ(got.top.size(), want.top.size());
  for (size_t i = 0; i < got.top.size(); ++i) {
    EXPECT_EQ(got.top[i].token, want.top[i].token);
    if (std::isfinite(want.top[i].logprob)) {
      EXPECT_NEAR(got.top[i].logprob, want.top[i].logprob, 1e-5);
    }
  }
}

TEST(SamplingTest, PicksTheTokenOfTheDefinition) {
  Random random(1);
  for (int round = 0; round < 4000; ++round) {
    const int32_t vocab = random.Int(1, 3) == 1 ? random.Int(1, 8) : random.Int(20, 300);
    const auto logits = RandomLogits(random, vocab);
    OwnedArgs owned = RandomArgs(random, vocab);
    auto scratch = logits;
    ExpectSame(SampleRow(scratch, owned.get()), NaiveSampleRow(logits, owned.get()), owned.get());
    if (HasFatalFailure()) return;
  }
}

TEST(SamplingTest, BackendsAgreeOnAWholeBatchWithAnyThreads) {
  Random random(2);
  constexpr int32_t kVocab = 1000, kRows = 9;
  auto reference = MakeReferenceBackend();
  for (const std::string& isa : testing::AvailableIsas()) {
    for (int threads : {1, 3}) {
      auto backend = MakeCpuBackend({.num_threads = threads, .isa = isa});
      const auto logits = random.Floats(size_t{kVocab} * kRows, 3);
      std::vector<OwnedArgs> owned;
      std::vector<SampleArgs> args;
      for (int i = 0; i < 40; ++i) owned.push_back(RandomArgs(random, kVocab));
      for (int i = 0; i < 40; ++i) {
        args.push_back(owned[size_t(i)].get());
        args.back().row = random.Int(0, kRows - 1);
      }
      std::vector<SampledToken> got(40), want(40);
      backend->Sample(logits.data(), kVocab, args, got);
      reference->Sample(logits.data(), kVocab, args, want);
      for (size_t i = 0; i < 40; ++i) ExpectSame(got[i], want[i], args[i]);
    }
  }
}

TEST(SamplingTest, AGivenTokenIsScoredAndNotDrawn) {
  const auto backend = MakeCpuBackend({.num_threads = 1});
  std::vector<float> logits{std::log(0.5f), std::log(0.125f), std::log(0.125f), std::log(0.25f)};
  const std::vector<SampleArgs> rows{{.given = 2, .temperature = 0},
                                     {.given = 2, .temperature = 0, .num_logprobs = 3}};
  std::vector<SampledToken> out(rows.size());
  backend->Sample(logits.data(), 4, rows, out);
  EXPECT_EQ(out[0].token, 2);
  EXPECT_EQ(out[1].token, 2);
  EXPECT_NEAR(out[1].logprob, std::log(0.125f), 1e-6);
  ASSERT_EQ(out[1].top.size(), 3u);
  EXPECT_EQ(out[1].top[1].token, 3);
  EXPECT_EQ(out[1].top[2].token, 1) << "ties by rising id";
}

TEST(SamplingTest, GreedyTakesTheLowestIdOnTiesInEveryLane) {
  for (const std::string& isa : testing::AvailableIsas()) {
    auto backend = MakeCpuBackend({.num_threads = 1, .isa = isa});
    for (int32_t vocab : {1, 5, 31, 32, 33, 100}) {
      for (int32_t at = 0; at < vocab; ++at) {
        std::vector<float> logits(size_t(vocab), -3.5f);
        std::fill(logits.begin() + at, logits.end(), 2.0f);
        if (at > 0) logits[0] = std::nanf("");
        std::vector<SampledToken> token(1);
        backend->Sample(logits.data(), vocab, {{SampleArgs{.temperature = 0}}}, token);
        ASSERT_EQ(token[0].token, at) << isa << " V " << vocab;
      }
    }
  }
}

TEST(SamplingTest, DrawsFollowTheProbabilities) {
  const std::vector<float> logits = {0, std::log(2.0f), std::log(5.0f)};
  std::map<int32_t, int> counts;
  constexpr int kDraws = 40000;
  for (uint64_t draw = 0; draw < kDraws; ++draw) {
    auto scratch = logits;
    ++counts[SampleRow(scratch, {.seed = 11, .draw = draw}).token];
  }
  EXPECT_NEAR(counts[0] / double(kDraws), 1 / 8.0, 0.01);
  EXPECT_NEAR(counts[1] / double(kDraws), 2 / 8.0, 0.01);
  EXPECT_NEAR(counts[2] / double(kDraws), 5 / 8.0, 0.01);
}

TEST(SamplingTest, ASeedAndADrawAlwaysGiveTheSameToken) {
  Random random(3);
  const auto logits = random.Floats(5000);
  const auto sample = [&](uint64_t seed, uint64_t draw) {
    auto scratch = logits;
    return SampleRow(scratch, {.seed = seed, .draw = draw}).token;
  };
  EXPECT_EQ(sample(1, 2), sample(1, 2));
  int different = 0;
  for (uint64_t i = 0; i < 50; ++i) different += sample(1, i) != sample(2, i);
  EXPECT_GT(different, 40);
}

TEST(SamplingTest, ARowOfNothingButBannedTokensStillGivesOne) {
  std::vector<float> logits = {1, 2, 3};
  const std::vector<int32_t> banned = {0, 1, 2};
  EXPECT_EQ(SampleRow(logits, {.banned = banned}).token, 0);
}

// Known answers of the Random123 distribution for a zero counter and key, and for all ones.
TEST(PhiloxTest, MatchesThePublishedVectors) {
  EXPECT_EQ(UniformAt(0, 0), float(0x6627e8d5u >> 8) * 0x1p-24f);
  Random random(4);
  double sum = 0;
  for (uint64_t i = 0; i < 10000; ++i) {
    const float u = UniformAt(uint64_t(random.Int(0, 1 << 30)), i);
    ASSERT_GE(u, 0);
    ASSERT_LT(u, 1);
    sum += u;
  }
  EXPECT_NEAR(sum / 10000, 0.5, 0.02);
}

TEST(MassTest, IsTheExponentialInFixedPoint) {
  EXPECT_EQ(MassOf(0), uint64_t{1} << 40);
  EXPECT_EQ(MassOf(-INFINITY), 0u);
  EXPECT_EQ(MassOf(std::nanf("")), 0u);
  for (float x = -27.9f; x < 0; x += 0.013f) {
    EXPECT_NEAR(double(ExpNonPositive(x)) / std::exp(double(x)), 1, 2e-7) << x;
  }
}

TEST(ChecksumTest, DependsOnEveryByteAndNotOnAlignment) {
  std::vector<std::byte> bytes(70000);
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = std::byte(i * 131 >> 3);
  const uint64_t sum = Checksum(bytes.data(), bytes.size());
  std::vector<std::byte> shifted(bytes.size() + 3);
  std::copy(bytes.begin(), bytes.end(), shifted.begin() + 3);
  EXPECT_EQ(Checksum(shifted.data() + 3, bytes.size()), sum);
  EXPECT_NE(Checksum(bytes.data(), bytes.size() - 1), sum);
  for (size_t i = 0; i < bytes.size(); i += 997) {
    bytes[i] ^= std::byte{1};
    EXPECT_NE(Checksum(bytes.data(), bytes.size()), sum) << i;
    bytes[i] ^= std::byte{1};
  }
  // The value is part of what two processes of different builds agree on.
  EXPECT_EQ(Checksum("", 0), 0x2d06800538d394c2u);
}

}  // namespace
}  // namespace baton::kernels
