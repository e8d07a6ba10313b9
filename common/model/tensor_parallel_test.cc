// A model divided among ranks against the same model whole: random weights in shapes that divide in
// every way, on the fast backend and on the slow one.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "common/model/load_model.h"
#include "common/model/test_folder.h"
#include "kernels/kv_heads.h"

namespace baton::model {
namespace {

using testing::AllOf;
using testing::HasSubstr;

constexpr int32_t kBlocks = 6, kBlockTokens = 16;

struct Shape {
  const char* name;
  const char* type;  // of the model
  int32_t q_heads, kv_heads, vocab;
  bool tied = false;
  bool biases = false;  // of every projection, where the family can have them
};

std::ostream& operator<<(std::ostream& out, const Shape& shape) { return out << shape.name; }

// `size` ranks of one model with their devices and pools.
class Group {
 public:
  Group(const TestFolder& folder, int32_t size, bool slow)
      : collectives_(kernels::MakeHostCollectives(size)) {
    LoadOptions options;
    options.model_dir = folder.path();
    options.format = LoadFormat::kRandom;
    options.step_tokens_max = 64;
    options.logits_rows_max = 8;
    std::vector<RankDevice> ranks;
    for (int32_t r = 0; r < size; ++r) {
      backends_.push_back(slow ? kernels::MakeReferenceBackend()
                               : kernels::MakeCpuBackend({.num_threads = 1}));
      ranks.push_back({backends_.back().get(), size > 1 ? collectives_[size_t(r)].get() : nullptr});
    }
    auto loaded = LoadModel(options, ranks);
    EXPECT_TRUE(loaded.ok()) << loaded.status();
    runner_ = *std::move(loaded);
    for (int32_t r = 0; r < size; ++r) {
      kernels::KvView kv = runner_->KvGeometry(kBlocks, kBlockTokens);
      pools_.push_back(backends_[size_t(r)]->Allocate(kv.pool_bytes()));
      kv.base = pools_.back()->data();
      std::memset(kv.base, 0xff, kv.pool_bytes());  // NaN: what is not written must not matter
      runner_->BindRankKv(r, kv);
      views_.push_back(kv);
    }
  }

  ModelRunner& runner() { return *runner_; }
  int32_t size() const { return int32_t(views_.size()); }
  kernels::Collective& collective(int32_t rank) { return *collectives_[size_t(rank)]; }
  const kernels::KvView& pool(int32_t rank) const { return views_[size_t(rank)]; }

  // K or V of a KV head of the model, as `rank` keeps it.
  const float* Head(int32_t rank, int32_t layer, int32_t block, bool value, int32_t head) const {
    const kernels::KvView& kv = pool(rank);
    const int32_t own = head - kernels::KvHeadsOf(runner_->info().num_kv_heads, rank, size()).first;
    const std::byte* at =
        kv.piece(layer, block) + size_t((value ? kv.num_kv_heads : 0) + own) * kv.head_bytes();
    return reinterpret_cast<const float*>(at);
  }

 private:
  std::vector<std::unique_ptr<kernels::Collective>> collectives_;
  std::vector<std::unique_ptr<kernels::Backend>> backends_;
  std::vector<std::unique_ptr<kernels::Buffer>> pools_;
  std::vector<kernels::KvView> views_;
  std::unique_ptr<ModelRunner> runner_;
};

const std::vector<int32_t> kTable{3, 0, 5};

// A prompt of 21 tokens in two chunks, then greedy tokens one by one; the logits of each.
struct Answer {
  std::vector<int32_t> tokens;
  std::vector<std::vector<float>> logits;
};

Answer Generate(ModelRunner& runner, int32_t num_tokens) {
  Answer answer;
  std::vector<int32_t> pending;
  for (int32_t i = 0; i < 21; ++i) pending.push_back((7 * i + 3) % runner.info().vocab);
  int32_t context = 0;
  while (int32_t(answer.tokens.size()) < num_tokens) {
    const size_t take = context == 0 ? 13 : pending.size();
    StepBatch batch;
    batch.tokens.assign(pending.begin(), pending.begin() + std::ptrdiff_t(take));
    pending.erase(pending.begin(), pending.begin() + std::ptrdiff_t(take));
    context += int32_t(take);
    batch.sequences.push_back({int32_t(take), context, kTable});
    batch.logits_rows = {int32_t(take) - 1};
    batch.samples.push_back({.temperature = 0});
    const StepResult result = runner.Execute(batch);
    if (!pending.empty()) continue;
    answer.logits.emplace_back(runner.last_logits().begin(), runner.last_logits().end());
    answer.tokens.push_back(result.sampled.at(0).token);
    pending.push_back(answer.tokens.back());
  }
  return answer;
}

// The distance of two rows, by the second one's length.
double RelativeDistance(std::span<const float> a, std::span<const float> b) {
  double difference = 0, length = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    difference += (double(a[i]) - b[i]) * (double(a[i]) - b[i]);
    length += double(b[i]) * b[i];
  }
  return std::sqrt(difference / length);
}

class TensorParallelTest : public testing::TestWithParam<std::tuple<Shape, int32_t>> {
 protected:
  void SetUp() override {
    const Shape& shape = std::get<0>(GetParam());
    nlohmann::json& config = folder_.config;
    config["model_type"] = shape.type;
    config["architectures"] = {std::string(shape.type) == "qwen2"   ? "Qwen2ForCausalLM"
                               : std::string(shape.type) == "qwen3" ? "Qwen3ForCausalLM"
                                                                    : "LlamaForCausalLM"};
    config["hidden_size"] = 32;
    config["intermediate_size"] = 48;
    config["num_attention_heads"] = shape.q_heads;
    config["num_key_value_heads"] = shape.kv_heads;
    config["head_dim"] = 8;
    config["num_hidden_layers"] = 3;
    config["vocab_size"] = shape.vocab;
    config["tie_word_embeddings"] = shape.tied;
    if (shape.biases) config["attention_bias"] = config["mlp_bias"] = true;
    folder_.WriteConfig();
  }
  int32_t size() const { return std::get<1>(GetParam()); }

  TestFolder folder_;
};

TEST_P(TensorParallelTest, GreedyTokensAreTheWholeModels) {
  for (const bool slow : {false, true}) {
    Group whole(folder_, 1, slow), divided(folder_, size(), slow);
    const Answer expected = Generate(whole.runner(), 16), got = Generate(divided.runner(), 16);
    EXPECT_EQ(got.tokens, expected.tokens);
    for (size_t i = 0; i < got.logits.size(); ++i) {
      EXPECT_LT(RelativeDistance(got.logits[i], expected.logits[i]), 1e-5) << "token " << i;
    }
  }
}

TEST_P(TensorParallelTest, EachRankKeepsItsHeadsOfTheWholeModelsKv) {
  Group whole(folder_, 1, false), divided(folder_, size(), false);
  Generate(whole.runner(), 4);
  Generate(divided.runner(), 4);
  const int32_t kv_heads = whole.runner().info().num_kv_heads;
  const size_t head_floats = whole.pool(0).head_bytes() / sizeof(float);
  for (int32_t rank = 0; rank < size(); ++rank) {
    const kernels::KvHeads own = kernels::KvHeadsOf(kv_heads, rank, size());
    EXPECT_EQ(divided.pool(rank).num_kv_heads, own.count);
    for (int32_t layer = 0; layer < 3; ++layer) {
      for (int32_t head = own.first; head < own.first + own.count; ++head) {
        for (const bool value : {false, true}) {
          const float* expected = whole.Head(0, layer, kTable[0], value, head);
          const float* got = divided.Head(rank, layer, kTable[0], value, head);
          EXPECT_LT(RelativeDistance({got, head_floats}, {expected, head_floats}), 1e-5)
              << "rank " << rank << " layer " << layer << " head " << head << " V " << value;
        }
      }
    }
  }
}

// The promise of one device holds for a group: rows do not see their batch.
TEST_P(TensorParallelTest, ARowHasTheSameBitsInEveryBatch) {
  Group group(folder_, size(), false);
  const Answer alone = Generate(group.runner(), 1);
  StepBatch batch;
  const std::vector<int32_t> other{1, 2};
  for (int32_t i = 0; i < 18; ++i) batch.tokens.push_back(i % 5);
  batch.sequences.push_back({18, 18, other});
  for (int32_t i = 0; i < 21; ++i) {
    batch.tokens.push_back((7 * i + 3) % group.runner().info().vocab);
  }
  batch.sequences.push_back({21, 21, kTable});
  batch.logits_rows = {17, 38};
  group.runner().Execute(batch);
  const std::span<const float> logits = group.runner().last_logits();
  const size_t vocab = size_t(group.runner().info().vocab);
  EXPECT_TRUE(std::equal(alone.logits[0].begin(), alone.logits[0].end(), logits.begin() + vocab));
}

TEST_P(TensorParallelTest, ScoresOfMoreRowsThanFitAreTheWholeModels) {
  std::vector<StepResult> results;
  for (const int32_t size : {1, this->size()}) {
    Group group(folder_, size, false);
    StepBatch batch;
    for (int32_t i = 0; i < 21; ++i) batch.tokens.push_back((5 * i + 1) % 20);
    batch.sequences.push_back({21, 21, kTable});
    for (int32_t i = 0; i < 20; ++i) batch.scores.push_back({i, batch.tokens[size_t(i) + 1], 2});
    batch.logits_rows = {20};
    batch.samples.push_back({.temperature = 0.8f, .seed = 7});
    results.push_back(group.runner().Execute(batch));
  }
  ASSERT_EQ(results[1].scored.size(), 20u);
  for (size_t i = 0; i < 20; ++i) {
    EXPECT_NEAR(results[1].scored[i].logprob, results[0].scored[i].logprob, 1e-4);
    EXPECT_EQ(results[1].scored[i].top[0].token, results[0].scored[i].top[0].token);
  }
  EXPECT_EQ(results[1].sampled[0].token, results[0].sampled[0].token);
}

TEST_P(TensorParallelTest, ALayerIsAnnouncedOnceWhenEveryRankHasWrittenIt) {
  Group group(folder_, size(), false);
  StepBatch batch;
  for (int32_t i = 0; i < 18; ++i) batch.tokens.push_back(i % 11);
  batch.sequences.push_back({18, 18, kTable});
  std::vector<std::vector<std::byte>> announced;
  const auto pieces = [&](int32_t layer) {
    std::vector<std::byte> bytes;
    for (int32_t rank = 0; rank < size(); ++rank) {
      const kernels::KvView& kv = group.pool(rank);
      for (const int32_t block : {kTable[0], kTable[1]}) {
        const std::byte* piece = kv.piece(layer, block);
        bytes.insert(bytes.end(), piece, piece + kv.block_layer_bytes());
      }
    }
    return bytes;
  };
  batch.on_layer = [&](int32_t layer) {
    EXPECT_EQ(layer, int32_t(announced.size()));
    announced.push_back(pieces(layer));
  };
  group.runner().Execute(batch);
  ASSERT_EQ(announced.size(), 3u);
  for (int32_t layer = 0; layer < 3; ++layer) {
    EXPECT_TRUE(announced[size_t(layer)] == pieces(layer)) << "layer " << layer;
  }
}

INSTANTIATE_TEST_SUITE_P(
    Shapes, TensorParallelTest,
    testing::Combine(testing::Values(Shape{"mha", "llama", 4, 4, 64},
                                     Shape{"gqa-biases", "llama", 8, 4, 64, false, true},
                                     Shape{"gqa-tied", "llama", 8, 2, 64, true},
                                     Shape{"mqa-whole-head", "llama", 4, 1, 61},
                                     Shape{"qwen2-bias", "qwen2", 4, 2, 61, true},
                                     Shape{"qwen3-qk-norm", "qwen3", 8, 2, 96}),
                     testing::Values(2, 4)),
    [](const auto& info) {
      std::string name = std::get<0>(info.param).name;
      std::replace(name.begin(), name.end(), '-', '_');
      return name + "_" + std::to_string(std::get<1>(info.param));
    });

TEST(TensorParallelLoadTest, TheFingerprintIsTheWholeModels) {
  TestFolder folder;
  folder.WriteConfig();
  Group whole(folder, 1, false), divided(folder, 2, false);
  EXPECT_EQ(whole.runner().info().fingerprint, divided.runner().info().fingerprint);
  EXPECT_EQ(divided.runner().info().num_parameters, whole.runner().info().num_parameters);
  EXPECT_EQ(divided.runner().num_ranks(), 2);
  EXPECT_EQ(whole.runner().num_ranks(), 1);
}

TEST(TensorParallelLoadTest, ACheckpointsSharesAreReadAsOneRises) {
  TestFolder folder;
  folder.Write();
  const auto collectives = kernels::MakeHostCollectives(2);
  const auto first = kernels::MakeReferenceBackend(), second = kernels::MakeReferenceBackend();
  const RankDevice ranks[] = {{first.get(), collectives[0].get()},
                              {second.get(), collectives[1].get()}};
  double last = 0;
  LoadOptions options;
  options.model_dir = folder.path();
  options.progress = [&](int64_t done, int64_t total) {
    const double now = double(done) / double(total);
    EXPECT_GE(now, last);
    last = now;
  };
  const auto runner = LoadModel(options, ranks);
  ASSERT_TRUE(runner.ok()) << runner.status();
  EXPECT_EQ(last, 1);
}

TEST(TensorParallelLoadTest, AModelThatCannotBeDividedIsRefusedWithTheNumbers) {
  TestFolder folder;
  folder.Write();
  const auto collectives = kernels::MakeHostCollectives(3);
  const auto backend = kernels::MakeReferenceBackend();
  std::vector<RankDevice> ranks;
  for (const auto& collective : collectives) ranks.push_back({backend.get(), collective.get()});
  const auto refused = LoadModel({.model_dir = folder.path()}, ranks);
  EXPECT_THAT(MessageOf(refused.status()),
              AllOf(HasSubstr("tensor_parallel_size is 3"), HasSubstr("num_attention_heads is 2")));
}

// The folder is gone when the model is there: a process that dies does not get to remove it.
Group GroupOfTwo() {
  TestFolder folder;
  folder.WriteConfig();
  return Group(folder, 2, false);
}

void GenerateWithALostRank() {
  Group group = GroupOfTwo();
  group.collective(1).Abort("the link to rank 1 is down");
  Generate(group.runner(), 1);
}

// A rank that is lost ends the others' step instead of leaving them waiting.
TEST(TensorParallelDeathTest, ALostRankStopsTheProcess) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  EXPECT_DEATH(GenerateWithALostRank(), "rank . of 2: the link to rank 1 is down");
}

}  // namespace
}  // namespace baton::model
