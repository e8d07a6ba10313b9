#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <string>
#include <tuple>

#include "common/model/load_model.h"
#include "kernels/backend.h"
#include "tests/oracle/golden.h"
#include "tests/oracle/paged_driver.h"

// Baton's models against the reference implementation's answers, on every backend of this machine.
namespace baton::oracle {
namespace {

constexpr double kRelL2Max = 1e-4;  // float32, at every position
constexpr int32_t kBlockTokens = 16;
constexpr int32_t kNumBlocks = 96;

double Norm(const std::vector<float>& a) {
  double sum = 0;
  for (const float x : a) sum += double(x) * x;
  return std::sqrt(sum);
}

double Distance(const std::vector<float>& a, const std::vector<float>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += (double(a[i]) - b[i]) * (double(a[i]) - b[i]);
  return std::sqrt(sum);
}

std::unique_ptr<kernels::Backend> MakeBackend(const std::string& name) {
  if (name == "reference") return kernels::MakeReferenceBackend();
  return kernels::MakeCpuBackend({.num_threads = 2, .isa = name});
}

using Case = std::tuple<std::string, std::string>;  // golden, backend

class OracleTest : public testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    backend_ = MakeBackend(std::get<1>(GetParam()));
    ASSERT_NE(backend_, nullptr);
    golden_ = ReadGolden(std::get<0>(GetParam()));
  }

  void Load(model::WeightDType dtype) {
    model::LoadOptions options;
    options.model_dir = golden_.folder;
    options.dtype = dtype;
    options.step_tokens_max = 256;
    options.logits_rows_max = 256;
    auto runner = model::LoadModel(options, *backend_);
    ASSERT_TRUE(runner.ok()) << runner.status();
    runner_ = *std::move(runner);
    driver_ = std::make_unique<PagedDriver>(*runner_, *backend_, kNumBlocks, kBlockTokens, 7);
  }

  // Logits of a whole prompt, fed in chunks of `chunk_tokens`.
  PagedDriver::Logits Feed(const std::vector<int32_t>& ids, size_t chunk_tokens) {
    const int sequence = driver_->AddSequence();
    PagedDriver::Logits all;
    for (size_t begin = 0; begin < ids.size(); begin += chunk_tokens) {
      const size_t end = std::min(ids.size(), begin + chunk_tokens);
      const PagedDriver::Piece piece{sequence, {ids.begin() + begin, ids.begin() + end}};
      for (auto& row : driver_->Step({&piece, 1})) all.push_back(std::move(row));
    }
    return all;
  }

  std::unique_ptr<kernels::Backend> backend_;
  Golden golden_;
  std::unique_ptr<model::ModelRunner> runner_;
  std::unique_ptr<PagedDriver> driver_;
};

TEST_P(OracleTest, Float32LogitsAgreeAtEveryPosition) {
  Load(model::WeightDType::kF32);
  double worst = 0;
  for (const GoldenPrompt& prompt : golden_.prompts) {
    const PagedDriver::Logits got = Feed(prompt.ids, 37);
    ASSERT_EQ(got.size(), prompt.ids.size());
    for (size_t i = 0; i < got.size(); ++i) {
      const double rel = Distance(got[i], prompt.logits[i]) / Norm(prompt.logits[i]);
      ASSERT_LE(rel, kRelL2Max) << "position " << i << " of " << got.size();
      worst = std::max(worst, rel);
    }
  }
  RecordProperty("worst_rel_l2", std::to_string(worst * 1e6) + "e-6");
}

TEST_P(OracleTest, GreedyTokensAreTheReferencesOneByOne) {
  Load(model::WeightDType::kF32);
  for (const GoldenPrompt& prompt : golden_.prompts) {
    PagedDriver::Piece piece{driver_->AddSequence(), prompt.ids};
    std::vector<int32_t> tokens;
    while (tokens.size() < prompt.greedy.size()) {
      tokens.push_back(driver_->StepGreedy({&piece, 1}).front());
      piece.tokens = {tokens.back()};
    }
    EXPECT_EQ(tokens, prompt.greedy) << "prompt of " << prompt.ids.size();
  }
}

// All prompts at once: each joins the running batch a step after the one before it, its prompt
// whole, so that every step mixes prefills and decodes.
TEST_P(OracleTest, GreedyTokensAreTheReferencesInAMixedBatch) {
  Load(model::WeightDType::kF32);
  std::vector<int> sequences;
  std::vector<std::vector<int32_t>> tokens(golden_.prompts.size());
  const size_t goal = golden_.prompts.front().greedy.size();
  for (size_t step = 0; step < goal + golden_.prompts.size(); ++step) {
    if (sequences.size() < golden_.prompts.size()) sequences.push_back(driver_->AddSequence());
    std::vector<PagedDriver::Piece> pieces;
    std::vector<size_t> who;
    for (size_t i = 0; i < sequences.size(); ++i) {
      if (tokens[i].size() == goal) continue;
      const auto& fresh = golden_.prompts[i].ids;
      pieces.push_back({sequences[i], tokens[i].empty() ? fresh : std::vector{tokens[i].back()}});
      who.push_back(i);
    }
    if (pieces.empty()) break;
    const std::vector<int32_t> sampled = driver_->StepGreedy(pieces);
    for (size_t k = 0; k < who.size(); ++k) tokens[who[k]].push_back(sampled[k]);
  }
  for (size_t i = 0; i < tokens.size(); ++i) {
    EXPECT_EQ(tokens[i], golden_.prompts[i].greedy) << "prompt " << i;
  }
}

// bf16 weights, activations and KV, where the backend rounds them: no further from float32 than the
// reference's own bf16.
using Bf16OracleTest = OracleTest;

TEST_P(Bf16OracleTest, LogitsStayWithinTheReferencesOwnBf16Error) {
  ASSERT_TRUE(golden_.bf16_rel_l2.has_value());
  Load(model::WeightDType::kAuto);
  double difference = 0, whole = 0, worst = 0;
  for (const GoldenPrompt& prompt : golden_.prompts) {
    const PagedDriver::Logits got = Feed(prompt.ids, prompt.ids.size());
    for (size_t i = 0; i < got.size(); ++i) {
      const double distance = Distance(got[i], prompt.logits[i]), norm = Norm(prompt.logits[i]);
      worst = std::max(worst, distance / norm);
      difference += distance * distance;
      whole += norm * norm;
    }
  }
  EXPECT_LE(worst, *golden_.bf16_rel_l2_max);
  EXPECT_LE(std::sqrt(difference / whole), *golden_.bf16_rel_l2);
  EXPECT_GT(difference, 0) << "bf16 that rounds nothing is not bf16";
}

std::string CaseName(const testing::TestParamInfo<Case>& info) {
  std::string name = std::get<0>(info.param) + "_on_" + std::get<1>(info.param);
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

// The backends that this machine has; a missing one is a matter of hardware, not of the build.
std::vector<std::string> Backends() {
  std::vector<std::string> names{"reference"};
  for (const char* isa : {"avx2", "avx512", "avx512_bf16"}) {
    if (MakeBackend(isa) != nullptr) names.push_back(isa);
  }
  return names;
}

std::vector<std::string> Bf16GoldenNames() {
  std::vector<std::string> names = GoldenNames();
  std::erase_if(names, [](const std::string& name) { return !ReadGolden(name).bf16_rel_l2; });
  return names;
}

INSTANTIATE_TEST_SUITE_P(Models, OracleTest,
                         testing::Combine(testing::ValuesIn(GoldenNames()),
                                          testing::ValuesIn(Backends())),
                         CaseName);
INSTANTIATE_TEST_SUITE_P(Models, Bf16OracleTest,
                         testing::Combine(testing::ValuesIn(Bf16GoldenNames()),
                                          testing::ValuesIn(Backends())),
                         CaseName);

}  // namespace
}  // namespace baton::oracle
