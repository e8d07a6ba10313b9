#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <memory>
#include <string>
#include <tuple>

#include "common/model/load_model.h"
#include "common/model/test_folder.h"
#include "kernels/backend.h"
#include "tests/oracle/paged_driver.h"

// Promise 1 over contexts of many blocks and chunks larger than any tile: bits do not depend on
// chunks, on company, on where blocks lie, or on the number of threads. Weights are random; the
// goldens say that they are used right.
namespace baton::oracle {
namespace {

using Piece = PagedDriver::Piece;
using Row = std::vector<float>;
using Case = std::tuple<std::string, model::WeightDType, int>;  // isa, precision, window

constexpr int32_t kPromptTokens = 700;

class LongContextTest : public testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    const auto& [isa, dtype, window] = GetParam();
    folder_.config = {{"architectures", {"MistralForCausalLM"}},
                      {"vocab_size", 301},
                      {"hidden_size", 120},
                      {"intermediate_size", 200},
                      {"num_hidden_layers", 2},
                      {"num_attention_heads", 6},
                      {"num_key_value_heads", 2},
                      {"head_dim", 40},
                      {"max_position_embeddings", 1024}};
    if (window > 0) folder_.config["sliding_window"] = window;
    folder_.WriteConfig();
    for (int32_t i = 0; i < kPromptTokens; ++i) prompt_.push_back((i * i + 7 * i) % 301);
    // The measure: one thread, chunks of 100, alone.
    Start(1);
    measure_ = Feed(100, /*with_company=*/false);
  }

  void Start(int num_threads) {
    driver_.reset();
    runner_.reset();
    backend_ =
        kernels::MakeCpuBackend({.num_threads = num_threads, .isa = std::get<0>(GetParam())});
    ASSERT_NE(backend_, nullptr);
    model::LoadOptions options;
    options.model_dir = folder_.path();
    options.format = model::LoadFormat::kRandom;
    options.dtype = std::get<1>(GetParam());
    options.step_tokens_max = kPromptTokens + 64;
    options.logits_rows_max = 64;
    auto runner = model::LoadModel(options, *backend_);
    ASSERT_TRUE(runner.ok()) << runner.status();
    runner_ = *std::move(runner);
  }

  // Feeds the prompt, then ten greedy tokens one by one; the logits of each of the eleven picks.
  std::vector<Row> Feed(int32_t chunk, bool with_company) {
    driver_ = std::make_unique<PagedDriver>(*runner_, *backend_, 256, 16, uint64_t(chunk));
    const int self = driver_->AddSequence(), other = driver_->AddSequence();
    std::vector<Row> rows;
    std::vector<int32_t> next = prompt_;
    size_t at = 0;
    while (rows.size() < 11) {
      const size_t take = std::min(size_t(chunk), next.size() - at);
      std::vector<Piece> pieces;
      if (with_company) pieces.push_back({other, {int32_t(3 + at), 5, int32_t(rows.size())}});
      pieces.push_back({self, {next.begin() + long(at), next.begin() + long(at + take)}});
      for (int32_t& token : pieces.front().tokens) token %= 301;
      const int32_t picked = driver_->StepGreedy(pieces).back();
      at += take;
      if (at < next.size()) continue;
      rows.push_back(driver_->last_logits().back());
      next.push_back(picked);
    }
    return rows;
  }

  void ExpectTheMeasure(const std::vector<Row>& rows, const std::string& what) {
    ASSERT_EQ(rows.size(), measure_.size());
    for (size_t i = 0; i < rows.size(); ++i) {
      for (const float logit : rows[i]) ASSERT_TRUE(std::isfinite(logit)) << what;
      ASSERT_EQ(std::memcmp(rows[i].data(), measure_[i].data(), rows[i].size() * sizeof(float)), 0)
          << what << ", pick " << i;
    }
  }

  model::TestFolder folder_;
  std::vector<int32_t> prompt_;
  std::unique_ptr<kernels::Backend> backend_;
  std::unique_ptr<model::ModelRunner> runner_;
  std::unique_ptr<PagedDriver> driver_;
  std::vector<Row> measure_;
};

TEST_P(LongContextTest, BitsDoNotDependOnChunksCompanyOrThreads) {
  Start(2);
  for (const int32_t chunk : {kPromptTokens, 512, 333, 64, 16, 1}) {
    ExpectTheMeasure(Feed(chunk, chunk % 2 == 0), "chunks of " + std::to_string(chunk));
  }
}

std::vector<Case> Cases() {
  std::vector<Case> cases;
  for (const char* isa : {"avx2", "avx512", "avx512_bf16"}) {
    if (kernels::MakeCpuBackend({.num_threads = 1, .isa = isa}) == nullptr) continue;
    for (const auto dtype : {model::WeightDType::kF32, model::WeightDType::kBF16}) {
      for (const int window : {0, 100}) cases.emplace_back(isa, dtype, window);
    }
  }
  return cases;
}

std::string CaseName(const testing::TestParamInfo<Case>& info) {
  const auto& [isa, dtype, window] = info.param;
  return isa + (dtype == model::WeightDType::kF32 ? "_f32" : "_bf16") +
         (window > 0 ? "_window" : "");
}

INSTANTIATE_TEST_SUITE_P(Backends, LongContextTest, testing::ValuesIn(Cases()), CaseName);

}  // namespace
}  // namespace baton::oracle
