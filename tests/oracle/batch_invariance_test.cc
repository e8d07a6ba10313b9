#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <numeric>
#include <optional>
#include <random>
#include <string>

#include "common/model/load_model.h"
#include "kernels/backend.h"
#include "tests/oracle/golden.h"
#include "tests/oracle/paged_driver.h"

// Promise 1: a token's logits depend on its own sequence alone, to the last bit. Everything here is
// compared as bytes.
namespace baton::oracle {
namespace {

using Piece = PagedDriver::Piece;
using Row = std::vector<float>;

bool SameBits(const Row& a, const Row& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

// A golden folder, in the precision and with the number of threads under test.
struct Setting {
  std::string golden;
  model::WeightDType dtype;
  int num_threads;
  std::optional<kernels::DType> kv_dtype = std::nullopt;
  std::optional<kernels::DType> quantize = std::nullopt;
};

class BatchInvarianceTest : public testing::TestWithParam<Setting> {
 protected:
  void SetUp() override {
    golden_ = ReadGolden(GetParam().golden);
    backend_ = kernels::MakeCpuBackend({.num_threads = GetParam().num_threads});
    ASSERT_NE(backend_, nullptr);
    model::LoadOptions options;
    options.model_dir = golden_.folder;
    options.dtype = GetParam().dtype;
    options.kv_dtype = GetParam().kv_dtype;
    options.quantize = GetParam().quantize;
    options.step_tokens_max = 512;
    options.logits_rows_max = 512;
    auto runner = model::LoadModel(options, *backend_);
    ASSERT_TRUE(runner.ok()) << runner.status();
    runner_ = *std::move(runner);
    alone_.resize(golden_.prompts.size());
    for (size_t i = 0; i < golden_.prompts.size(); ++i) alone_[i] = Alone(golden_.prompts[i].ids);
  }

  std::unique_ptr<PagedDriver> Driver(int32_t block_tokens, uint64_t seed) {
    return std::make_unique<PagedDriver>(*runner_, *backend_, 2048 / block_tokens + 64,
                                         block_tokens, seed);
  }

  // The measure: the sequence alone, token by token.
  std::vector<Row> Alone(const std::vector<int32_t>& ids) {
    auto driver = Driver(16, 1);
    const int sequence = driver->AddSequence();
    std::vector<Row> rows;
    for (const int32_t id : ids) {
      const Piece piece{sequence, {id}};
      rows.push_back(driver->Step({&piece, 1}).front());
    }
    return rows;
  }

  const std::vector<int32_t>& Ids(size_t prompt) const { return golden_.prompts[prompt].ids; }

  Golden golden_;
  std::unique_ptr<kernels::Backend> backend_;
  std::unique_ptr<model::ModelRunner> runner_;
  std::vector<std::vector<Row>> alone_;  // [prompt][position]
};

TEST_P(BatchInvarianceTest, ChunkSizeDoesNotChangeABit) {
  const std::vector<int32_t>& ids = golden_.prompts.back().ids;
  for (const size_t chunk : {2, 3, 7, 8, 16, 17, 31, 64, 100}) {
    auto driver = Driver(16, chunk);
    const int sequence = driver->AddSequence();
    for (size_t begin = 0; begin < ids.size(); begin += chunk) {
      const size_t end = std::min(ids.size(), begin + chunk);
      const Piece piece{sequence, {ids.begin() + begin, ids.begin() + end}};
      const auto rows = driver->Step({&piece, 1});
      for (size_t i = 0; i < rows.size(); ++i) {
        ASSERT_TRUE(SameBits(rows[i], alone_.back()[begin + i]))
            << "chunks of " << chunk << ", position " << begin + i;
      }
    }
  }
}

// Random batches: any number of sequences, each with a random next chunk, in random order, at any
// block size, with blocks anywhere.
TEST_P(BatchInvarianceTest, CompanyInTheBatchDoesNotChangeABit) {
  std::mt19937_64 random(11);
  for (const int32_t block_tokens : {16, 32, 64}) {
    auto driver = Driver(block_tokens, random());
    std::vector<size_t> done(golden_.prompts.size(), 0);
    std::vector<int> sequences(done.size());
    for (int& s : sequences) s = driver->AddSequence();
    for (;;) {
      std::vector<Piece> pieces;
      std::vector<std::pair<size_t, size_t>> expected;  // prompt, position of each row
      std::vector<size_t> order(done.size());
      std::iota(order.begin(), order.end(), 0);
      std::shuffle(order.begin(), order.end(), random);
      for (const size_t p : order) {
        const size_t left = Ids(p).size() - done[p];
        if (left == 0 || random() % 4 == 0) continue;
        const size_t take = 1 + random() % std::min<size_t>(left, 40);
        const auto begin = Ids(p).begin() + std::ptrdiff_t(done[p]);
        pieces.push_back({sequences[p], {begin, begin + std::ptrdiff_t(take)}});
        for (size_t i = 0; i < take; ++i) expected.emplace_back(p, done[p]++);
      }
      if (pieces.empty()) {
        bool all_done = true;
        for (size_t p = 0; p < done.size(); ++p) all_done &= done[p] == Ids(p).size();
        if (all_done) break;
        continue;
      }
      const auto rows = driver->Step(pieces);
      ASSERT_EQ(rows.size(), expected.size());
      for (size_t i = 0; i < rows.size(); ++i) {
        const auto [prompt, position] = expected[i];
        ASSERT_TRUE(SameBits(rows[i], alone_[prompt][position]))
            << "blocks of " << block_tokens << ", prompt " << prompt << ", position " << position;
      }
    }
  }
}

// The last layer computes wanted rows only; what is left out must not show.
TEST_P(BatchInvarianceTest, AskingForFewerLogitsDoesNotChangeThem) {
  auto driver = Driver(16, 3);
  const size_t last = golden_.prompts.size() - 1;
  const std::vector<Piece> pieces{{driver->AddSequence(), Ids(last)},
                                  {driver->AddSequence(), Ids(last - 1)}};
  driver->StepGreedy(pieces);
  const auto rows = driver->last_logits();
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_TRUE(SameBits(rows[0], alone_[last].back()));
  EXPECT_TRUE(SameBits(rows[1], alone_[last - 1].back()));
}

TEST_P(BatchInvarianceTest, RowsOfLogitsMayBeAskedForInAnyOrderAndTwice) {
  auto driver = Driver(32, 5);
  const auto kv = runner_->KvGeometry(32, 32);
  auto pool = backend_->Allocate(kv.pool_bytes());
  auto bound = kv;
  bound.base = pool->data();
  runner_->BindKv(bound);
  const std::vector<int32_t>& ids = golden_.prompts.back().ids;
  const std::vector<int32_t> table{9, 4, 30, 0};
  model::StepBatch batch;
  batch.tokens = ids;
  batch.sequences.push_back({int32_t(ids.size()), int32_t(ids.size()), table});
  const int32_t last = int32_t(ids.size()) - 1;
  batch.logits_rows = {last, 3, 4, 5, 5, 0, last - 1, last, 1};
  runner_->Execute(batch);
  const auto flat = runner_->last_logits();
  const size_t vocab = size_t(runner_->info().vocab);
  ASSERT_EQ(flat.size(), batch.logits_rows.size() * vocab);
  for (size_t i = 0; i < batch.logits_rows.size(); ++i) {
    const Row row(flat.begin() + std::ptrdiff_t(i * vocab),
                  flat.begin() + std::ptrdiff_t((i + 1) * vocab));
    EXPECT_TRUE(SameBits(row, alone_.back()[size_t(batch.logits_rows[i])])) << "row " << i;
  }
}

// What travels in a hand-over: K and V of every position and layer are the same bytes however they
// were computed, and each layer is announced once, in order.
TEST_P(BatchInvarianceTest, KeysAndValuesAreTheSameBytesHoweverTheyWereComputed) {
  auto whole = Driver(16, 21);
  const std::vector<int32_t>& ids = golden_.prompts.back().ids;
  const Piece all{whole->AddSequence(), ids};
  whole->StepGreedy({&all, 1});
  std::vector<int32_t> layers(size_t(runner_->info().num_layers));
  std::iota(layers.begin(), layers.end(), 0);
  EXPECT_EQ(whole->layers_seen(), layers);
  auto pieces = Driver(64, 22);
  const int sequence = pieces->AddSequence();
  for (size_t begin = 0; begin < ids.size(); begin += 9) {
    const size_t end = std::min(ids.size(), begin + 9);
    const Piece piece{sequence, {ids.begin() + begin, ids.begin() + end}};
    pieces->StepGreedy({&piece, 1});
  }
  for (const int32_t layer : layers) {
    for (int32_t position = 0; position < int32_t(ids.size()); ++position) {
      ASSERT_EQ(whole->KvAt(0, position, layer), pieces->KvAt(sequence, position, layer))
          << "layer " << layer << ", position " << position;
    }
  }
}

std::vector<Setting> Settings() {
  std::vector<Setting> settings;
  for (const char* name : {"llama-mha", "llama-mqa-headdim", "mistral-window", "qwen3-gqa"}) {
    settings.push_back({name, model::WeightDType::kF32, 2});
  }
  settings.push_back({"qwen2-bias", model::WeightDType::kF32, 1});
  for (const char* name : {"llama-gqa-tied-bf16", "qwen3-tied-bf16", "mistral-nowindow-f16"}) {
    settings.push_back({name, model::WeightDType::kBF16, 2});
  }
  settings.push_back({"qwen3-gqa", model::WeightDType::kF32, 2, kernels::DType::kInt8});
  settings.push_back({"mistral-window", model::WeightDType::kBF16, 2, kernels::DType::kFp8});
  settings.push_back(
      {"qwen2-bias", model::WeightDType::kF32, 2, std::nullopt, kernels::DType::kInt8});
  settings.push_back({"llama-gqa-tied-bf16", model::WeightDType::kBF16, 2, kernels::DType::kInt8,
                      kernels::DType::kInt4G32});
  return settings;
}

std::string SettingName(const testing::TestParamInfo<Setting>& info) {
  std::string name =
      info.param.golden + (info.param.dtype == model::WeightDType::kBF16 ? "_in_bf16" : "_in_f32") +
      (info.param.kv_dtype ? "_kv_" + std::string(NameOf(*info.param.kv_dtype)) : "") +
      (info.param.quantize ? "_" + std::string(NameOf(*info.param.quantize)) : "") +
      (info.param.num_threads == 1 ? "_one_thread" : "");
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

INSTANTIATE_TEST_SUITE_P(Models, BatchInvarianceTest, testing::ValuesIn(Settings()), SettingName);

}  // namespace
}  // namespace baton::oracle
