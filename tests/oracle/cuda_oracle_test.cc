#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <memory>
#include <optional>
#include <regex>
#include <string>

#include "common/model/load_model.h"
#include "kernels/cuda/backend/cuda_backend.h"
#include "kernels/cuda/testing/harness.h"
#include "tests/oracle/golden.h"
#include "tests/oracle/paged_driver.h"

// Whole models on the CUDA backend, where its kernels run: emulated, or on a GPU. Against the
// reference implementation's answers, and, where heads are large enough for the tensor core
// kernels, against the plain loops of kernels/reference. Few tokens: every kernel meets every
// model.
namespace baton::oracle {
namespace {

using Logits = PagedDriver::Logits;
using Piece = PagedDriver::Piece;

constexpr double kRelL2Max = 1e-4;  // float32, at every position
constexpr size_t kPromptTokensMax = 33;
constexpr size_t kGreedyTokens = 8;

std::unique_ptr<kernels::Backend> MakeCuda(bool deterministic = false, int device = 0,
                                           size_t graphs_max = 32) {
  std::unique_ptr<kernels::Backend> backend;
  const kernels::cuda::Error error =
      kernels::cuda::CudaBackend::Create({.device = device,
                                          .deterministic = deterministic,
                                          .graphs_max = graphs_max,
                                          .staging_bytes = 1 << 20,
                                          .workspace_bytes = 4 << 20},
                                         &backend);
  EXPECT_EQ(error.value_or(""), "");
  return backend;
}

double RelativeDistance(const std::vector<float>& got, const std::vector<float>& want) {
  double difference = 0, norm = 0;
  for (size_t i = 0; i < want.size(); ++i) {
    difference += (double(got[i]) - want[i]) * (double(got[i]) - want[i]);
    norm += double(want[i]) * want[i];
  }
  return std::sqrt(difference / norm);
}

// One model on one backend.
class Model {
 public:
  Model(std::unique_ptr<kernels::Backend> backend, const std::filesystem::path& folder,
        model::WeightDType dtype, std::optional<kernels::DType> kv_dtype = std::nullopt,
        int32_t step_tokens_max = 80)
      : backend_(std::move(backend)) {
    model::LoadOptions options;
    options.model_dir = folder;
    options.dtype = dtype;
    options.kv_dtype = kv_dtype;
    options.step_tokens_max = step_tokens_max;
    options.logits_rows_max = step_tokens_max;
    options.context_tokens_max = 256;
    auto runner = model::LoadModel(options, *backend_);
    EXPECT_TRUE(runner.ok()) << runner.status();
    runner_ = *std::move(runner);
    driver_ = std::make_unique<PagedDriver>(*runner_, *backend_, /*num_blocks=*/24, 16, 7);
  }

  // Logits of every position of a new sequence, fed in chunks.
  Logits Feed(const std::vector<int32_t>& ids, size_t chunk_tokens) {
    const int sequence = driver_->AddSequence();
    Logits all;
    for (size_t begin = 0; begin < ids.size(); begin += chunk_tokens) {
      const size_t end = std::min(ids.size(), begin + chunk_tokens);
      const Piece piece{sequence, {ids.begin() + long(begin), ids.begin() + long(end)}};
      for (auto& row : driver_->Step({&piece, 1})) all.push_back(std::move(row));
    }
    return all;
  }

  // Greedy continuations of all prompts together: each joins a step after the one before it, so
  // that steps mix prompts and decodes.
  std::vector<std::vector<int32_t>> Continue(const std::vector<std::vector<int32_t>>& prompts,
                                             size_t goal) {
    std::vector<int> sequences;
    std::vector<std::vector<int32_t>> tokens(prompts.size());
    for (size_t step = 0; step < goal + prompts.size(); ++step) {
      if (sequences.size() < prompts.size()) sequences.push_back(driver_->AddSequence());
      std::vector<Piece> pieces;
      std::vector<size_t> who;
      for (size_t i = 0; i < sequences.size(); ++i) {
        if (tokens[i].size() == goal) continue;
        pieces.push_back(
            {sequences[i], tokens[i].empty() ? prompts[i] : std::vector{tokens[i].back()}});
        who.push_back(i);
      }
      if (pieces.empty()) break;
      const std::vector<int32_t> picked = driver_->StepGreedy(pieces);
      for (size_t k = 0; k < who.size(); ++k) tokens[who[k]].push_back(picked[k]);
    }
    return tokens;
  }

  // New sequences, by number: one step for each prompt.
  void Begin(const std::vector<std::vector<int32_t>>& prompts) {
    for (const auto& prompt : prompts) {
      begun_.push_back({driver_->AddSequence(), prompt});
      begun_.back().tokens = driver_->StepGreedy({&begun_.back(), 1});
    }
  }
  // A step of one more token for each of these.
  std::vector<int32_t> Decode(const std::vector<size_t>& who) {
    std::vector<Piece> pieces;
    for (const size_t i : who) pieces.push_back(begun_[i]);
    const std::vector<int32_t> picked = driver_->StepGreedy(pieces);
    for (size_t k = 0; k < who.size(); ++k) begun_[who[k]].tokens = {picked[k]};
    return picked;
  }

  const kernels::Backend& backend() const { return *backend_; }

 private:
  std::unique_ptr<kernels::Backend> backend_;
  std::unique_ptr<model::ModelRunner> runner_;
  std::unique_ptr<PagedDriver> driver_;
  std::vector<Piece> begun_;  // and the token that each goes on with
};

class CudaOracleTest : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    kernels::cuda::testing::UseOrder(2);  // threads change places
    golden_ = ReadGolden(GetParam());
    std::erase_if(golden_.prompts,
                  [](const GoldenPrompt& prompt) { return prompt.ids.size() > kPromptTokensMax; });
  }
  void TearDown() override { EXPECT_EQ(kernels::cuda::testing::Complaints(), ""); }

  Golden golden_;
};

TEST_P(CudaOracleTest, Float32LogitsAgreeAtEveryPosition) {
  Model model(MakeCuda(), golden_.folder, model::WeightDType::kF32);
  for (const GoldenPrompt& prompt : golden_.prompts) {
    const Logits got = model.Feed(prompt.ids, 15);
    ASSERT_EQ(got.size(), prompt.ids.size());
    for (size_t i = 0; i < got.size(); ++i) {
      ASSERT_LE(RelativeDistance(got[i], prompt.logits[i]), kRelL2Max)
          << "position " << i << " of " << got.size();
    }
  }
}

TEST_P(CudaOracleTest, GreedyTokensAreTheReferencesInAMixedBatch) {
  Model model(MakeCuda(), golden_.folder, model::WeightDType::kF32);
  std::vector<std::vector<int32_t>> prompts, want;
  for (const GoldenPrompt& prompt : golden_.prompts) {
    prompts.push_back(prompt.ids);
    want.emplace_back(prompt.greedy.begin(), prompt.greedy.begin() + kGreedyTokens);
  }
  EXPECT_EQ(model.Continue(prompts, kGreedyTokens), want);
}

using CudaBf16OracleTest = CudaOracleTest;

TEST_P(CudaBf16OracleTest, LogitsStayWithinTheReferencesOwnBf16Error) {
  Model model(MakeCuda(), golden_.folder, model::WeightDType::kBF16);
  bool any_differs = false;
  for (const GoldenPrompt& prompt : golden_.prompts) {
    const Logits got = model.Feed(prompt.ids, 15);
    for (size_t i = 0; i < got.size(); ++i) {
      const double distance = RelativeDistance(got[i], prompt.logits[i]);
      ASSERT_LE(distance, *golden_.bf16_rel_l2_max) << "position " << i << " of " << got.size();
      any_differs |= distance > kRelL2Max;
    }
  }
  EXPECT_TRUE(any_differs) << "bf16 that rounds nothing is not bf16";
}

// Models that the backend refuses have a test of their own below.
std::vector<std::string> Names(bool in_bf16) {
  std::vector<std::string> names = GoldenNames();
  std::erase_if(names, [&](const std::string& name) {
    return name == "llama-biases" || (in_bf16 && !ReadGolden(name).bf16_rel_l2);
  });
  return names;
}
std::string CaseName(const testing::TestParamInfo<std::string>& info) {
  std::string name = info.param;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}
INSTANTIATE_TEST_SUITE_P(Models, CudaOracleTest, testing::ValuesIn(Names(false)), CaseName);
INSTANTIATE_TEST_SUITE_P(Models, CudaBf16OracleTest, testing::ValuesIn(Names(true)), CaseName);

TEST(CudaModelTest, AShapeItCannotRunIsAnErrorAtLoad) {
  auto backend = MakeCuda();
  model::LoadOptions options;
  options.model_dir = ReadGolden("llama-biases").folder;
  const auto runner = model::LoadModel(options, *backend);
  ASSERT_FALSE(runner.ok());
  EXPECT_EQ(MessageOf(runner.status()),
            "config.json: intermediate_size is 85; the CUDA backend needs a multiple of 8; "
            "device cpu has no such limit");
}

TEST(CudaModelTest, WhatDoesNotFitIsAnErrorAtLoadWithTheNumbers) {
  auto backend = MakeCuda();
  const double free_gb = double(backend->memory()->bytes_free) / 1e9;
  model::LoadOptions options;
  options.model_dir = ReadGolden("llama-mha").folder;
  options.step_tokens_max = int32_t(free_gb * 1e9 / 1000);  // each takes more than that
  const auto runner = model::LoadModel(options, *backend);
  ASSERT_FALSE(runner.ok());
  EXPECT_EQ(runner.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(MessageOf(runner.status()),
              testing::AllOf(testing::HasSubstr(fmt::format("a step of {} tokens with 256 rows of "
                                                            "logits takes",
                                                            options.step_tokens_max)),
                             testing::HasSubstr("GB of memory free; a smaller step_tokens_max and "
                                                "batch_sequences_max would fit")));
}

// Every product of every step goes there: what the model has announced is what it asks for.
TEST(CudaModelTest, CublasLtStaysWithinTheReferencesOwnBf16Error) {
  constexpr int32_t kStepTokens = 7;
  std::unique_ptr<kernels::Backend> backend;
  if (const auto error = kernels::cuda::CudaBackend::Create(
          {.gemm = kernels::CudaGemm::kCublasLt, .staging_bytes = 1 << 20}, &backend)) {
    ASSERT_THAT(*error, testing::HasSubstr("cuBLASLt is not there"));
    GTEST_SKIP() << *error;
  }
  kernels::cuda::testing::UseOrder(0);
  const Golden golden = ReadGolden("qwen2-tied-bf16");
  Model model(std::move(backend), golden.folder, model::WeightDType::kBF16, std::nullopt,
              kStepTokens);
  EXPECT_TRUE(
      std::regex_search(model.backend().facts().gemm, std::regex("for ([1-9][0-9]*) of \\1 sizes")))
      << model.backend().facts().gemm;
  const GoldenPrompt& prompt = golden.prompts.front();
  const Logits got = model.Feed(prompt.ids, kStepTokens);
  for (size_t i = 0; i < got.size(); ++i) {
    ASSERT_LE(RelativeDistance(got[i], prompt.logits[i]), *golden.bf16_rel_l2_max)
        << "position " << i << " of " << got.size();
  }
  const auto counts = static_cast<const kernels::cuda::CudaBackend&>(model.backend()).gemm_counts();
  EXPECT_GT(counts.library, 0u);
  EXPECT_EQ(counts.own, 0u);
  EXPECT_EQ(kernels::cuda::testing::Complaints(), "");
}

// The demo model: heads of 64 in bf16, so the tensor core kernels and decode attention.
class CudaDemoTest : public testing::Test {
 protected:
  void SetUp() override {
    kernels::cuda::testing::UseOrder(1);
    for (int32_t i = 0; i < 37; ++i) prompt_.push_back(3 + (i * i * 31 + 11 * i) % 3000);
  }
  void TearDown() override { EXPECT_EQ(kernels::cuda::testing::Complaints(), ""); }
  static std::filesystem::path Folder() {
    return std::filesystem::path(BATON_ORACLE_MODELS) / "baton-demo";
  }

  std::vector<int32_t> prompt_;
};

TEST_F(CudaDemoTest, LogitsAndGreedyTokensAreTheReferences) {
  Model reference(kernels::MakeReferenceBackend(), Folder(), model::WeightDType::kBF16);
  Model cuda(MakeCuda(), Folder(), model::WeightDType::kBF16);
  const Logits want = reference.Feed(prompt_, 64), got = cuda.Feed(prompt_, 20);
  for (size_t i = 0; i < want.size(); ++i) {
    ASSERT_LE(RelativeDistance(got[i], want[i]), 0.02) << "position " << i;
  }
  const std::vector<std::vector<int32_t>> prompts = {
      prompt_, {1, 500, 700}, {prompt_.begin(), prompt_.begin() + 18}};
  EXPECT_EQ(cuda.Continue(prompts, 5), reference.Continue(prompts, 5));
  // Steps with all three, one token each.
  const auto& counts =
      static_cast<const kernels::cuda::CudaBackend&>(cuda.backend()).launch_counts();
  EXPECT_GT(counts.graphs, 0u);
}

// Sequences come and go between decodes: the steps of five and of six are the same launches, and
// nobody sees that the smaller one was filled up.
TEST_F(CudaDemoTest, BatchesOfAllSizesShareFewGraphs) {
  Model one_by_one(MakeCuda(false, 0, /*graphs_max=*/0), Folder(), model::WeightDType::kBF16);
  Model cuda(MakeCuda(), Folder(), model::WeightDType::kBF16);
  std::vector<std::vector<int32_t>> prompts;
  for (int32_t i = 0; i < 6; ++i) prompts.push_back({1, 400 + 7 * i, 700 - 31 * i});
  one_by_one.Begin(prompts);
  cuda.Begin(prompts);
  const auto expect_same = [&](const std::vector<size_t>& who) {
    EXPECT_EQ(cuda.Decode(who), one_by_one.Decode(who)) << who.size() << " sequences";
  };
  expect_same({0, 1, 2, 3, 4});  // met once
  expect_same({0, 1, 2, 3, 4, 5});
  const auto& counts =
      static_cast<const kernels::cuda::CudaBackend&>(cuda.backend()).launch_counts();
  const kernels::cuda::LaunchQueue::Counts before = counts;
  expect_same({1, 2, 3, 4, 5});
  expect_same({5, 4, 3, 2, 1});
  expect_same({0, 1, 2, 3, 4, 5});
  EXPECT_EQ(counts.recorded, before.recorded);
  EXPECT_EQ(counts.launches, before.launches);
  EXPECT_GT(counts.graphs, before.graphs);
}

// With KV of one byte: both write the same bytes but for elements that stand between two steps.
TEST_F(CudaDemoTest, LogitsOverAQuantizedCacheAreTheReferences) {
  prompt_.resize(25);
  for (const kernels::DType kv : {kernels::DType::kFp8, kernels::DType::kInt8}) {
    Model reference(kernels::MakeReferenceBackend(), Folder(), model::WeightDType::kBF16, kv);
    Model cuda(MakeCuda(), Folder(), model::WeightDType::kBF16, kv);
    const Logits want = reference.Feed(prompt_, 64), got = cuda.Feed(prompt_, 12);
    const double step = kv == kernels::DType::kFp8 ? 0.06 : 0.03;  // fp8's are ten times as wide
    for (size_t i = 0; i < want.size(); ++i) {
      ASSERT_LE(RelativeDistance(got[i], want[i]), step) << NameOf(kv) << ", position " << i;
    }
  }
}

// More tokens at once than the kernels of every GPU are chosen for.
TEST_F(CudaDemoTest, OnWarpgroupsLogitsAreTheReferences) {
  int devices = 0;
  EXPECT_EQ(kernels::cuda::CountDevices(&devices).value_or(""), "");
  for (int device = 0; device < devices; ++device) {
    kernels::cuda::DeviceInfo info;
    EXPECT_EQ(kernels::cuda::Describe(device, &info).value_or(""), "");
    if (!info.traits.has_warpgroups) continue;
    while (prompt_.size() < 70) prompt_.push_back(prompt_[prompt_.size() - 37] + 1);
    Model reference(kernels::MakeReferenceBackend(), Folder(), model::WeightDType::kBF16);
    Model cuda(MakeCuda(false, device), Folder(), model::WeightDType::kBF16);
    const Logits want = reference.Feed(prompt_, 70), got = cuda.Feed(prompt_, 70);
    for (size_t i = 0; i < want.size(); ++i) {
      ASSERT_LE(RelativeDistance(got[i], want[i]), 0.02) << "position " << i;
    }
    return;
  }
  GTEST_SKIP() << "no GPU here has warpgroups";
}

TEST_F(CudaDemoTest, DeterministicLogitsHaveTheSameBitsHoweverThePromptWasCut) {
  prompt_.resize(21);
  Model cuda(MakeCuda(/*deterministic=*/true), Folder(), model::WeightDType::kBF16);
  const Logits whole = cuda.Feed(prompt_, 64);
  for (const size_t chunk : {6, 17}) {
    EXPECT_EQ(cuda.Feed(prompt_, chunk), whole) << "chunks of " << chunk;
  }
}

}  // namespace
}  // namespace baton::oracle
