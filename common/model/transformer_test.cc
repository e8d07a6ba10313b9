#include "common/model/transformer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

#include "common/model/load_model.h"
#include "common/model/test_folder.h"

namespace baton::model {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

// A random two-layer model with eight KV blocks of 16 tokens, on the fast backend.
class TransformerTest : public testing::Test {
 protected:
  void SetUp() override {
    // Gone when the model is there: a death test's process does not get to remove it.
    const TestFolder folder;
    folder.WriteConfig();
    LoadOptions options;
    options.model_dir = folder.path();
    options.format = LoadFormat::kRandom;
    options.step_tokens_max = 40;
    options.logits_rows_max = 4;
    auto runner = LoadModel(options, *backend_);
    ASSERT_TRUE(runner.ok()) << runner.status();
    runner_ = *std::move(runner);
    kv_ = runner_->KvGeometry(8, 16);
    pool_ = backend_->Allocate(kv_.pool_bytes());
    kv_.base = pool_->data();
    runner_->BindKv(kv_);
  }

  // One sequence of `tokens` new tokens in blocks 5 and 2.
  StepBatch Batch(int32_t tokens) {
    StepBatch batch;
    for (int32_t i = 0; i < tokens; ++i) batch.tokens.push_back(i % 11);
    batch.sequences.push_back({tokens, tokens, table_});
    return batch;
  }

  std::vector<std::byte> Piece(int32_t layer, int32_t block) const {
    const std::byte* piece = kv_.piece(layer, block);
    return {piece, piece + kv_.block_layer_bytes()};
  }

  const std::vector<int32_t> table_{5, 2};
  std::unique_ptr<kernels::Backend> backend_ = kernels::MakeCpuBackend({.num_threads = 2});
  std::unique_ptr<ModelRunner> runner_;
  kernels::KvView kv_;
  std::unique_ptr<kernels::Buffer> pool_;
};

TEST_F(TransformerTest, ALayersKeysAndValuesAreFinalWhenItIsAnnounced) {
  StepBatch batch = Batch(20);
  std::vector<std::vector<std::byte>> announced;
  batch.on_layer = [&](int32_t layer) {
    ASSERT_EQ(layer, int32_t(announced.size()) / 2);
    announced.push_back(Piece(layer, 5));
    announced.push_back(Piece(layer, 2));
  };
  runner_->Execute(batch);
  EXPECT_THAT(announced, ElementsAre(Piece(0, 5), Piece(0, 2), Piece(1, 5), Piece(1, 2)));
  EXPECT_NE(announced[0], std::vector<std::byte>(kv_.block_layer_bytes()));
}

TEST_F(TransformerTest, AStepWritesNoBlockButItsOwn) {
  std::memset(pool_->data(), 0x5a, kv_.pool_bytes());
  runner_->Execute(Batch(20));
  const std::vector<std::byte> untouched(kv_.block_layer_bytes(), std::byte{0x5a});
  for (int32_t layer = 0; layer < kv_.num_layers; ++layer) {
    for (const int32_t block : {0, 1, 3, 4, 6, 7}) EXPECT_EQ(Piece(layer, block), untouched);
    EXPECT_NE(Piece(layer, 5), untouched);
  }
}

TEST_F(TransformerTest, AChunkThatWantsNoLogitsStillWritesEveryLayer) {
  const StepResult result = runner_->Execute(Batch(20));
  EXPECT_TRUE(result.sampled.empty());
  EXPECT_TRUE(runner_->last_logits().empty());
  const auto last_layer = Piece(1, 2);
  std::memset(pool_->data(), 0, kv_.pool_bytes());
  StepBatch wanted = Batch(20);
  wanted.logits_rows = {19};
  runner_->Execute(wanted);
  EXPECT_EQ(Piece(1, 2), last_layer);
}

TEST_F(TransformerTest, OneRowCanBeSampledManyTimes) {
  StepBatch batch = Batch(7);
  batch.logits_rows = {6};
  for (uint64_t seed = 0; seed < 16; ++seed) {
    kernels::SampleArgs args;
    args.seed = seed;
    batch.samples.push_back(args);
  }
  kernels::SampleArgs greedy;
  greedy.temperature = 0;
  batch.samples.push_back(greedy);
  const StepResult result = runner_->Execute(batch);
  ASSERT_EQ(result.sampled.size(), 17u);
  const auto logits = runner_->last_logits();
  const auto best = std::max_element(logits.begin(), logits.end()) - logits.begin();
  EXPECT_EQ(result.sampled.back().token, best);
  bool differ = false;
  for (const auto& s : result.sampled) differ |= s.token != result.sampled[0].token;
  EXPECT_TRUE(differ) << "sixteen seeds, one token";
}

// One prompt, then one token after the other: told to the host each time, or not.
TEST_F(TransformerTest, StepsBegunBeforeTheLastOnesTokensAreKnownPickTheSame) {
  const auto step = [&](std::vector<int32_t> tokens, int32_t context, uint64_t draw) {
    StepBatch batch;
    batch.logits_rows = {int32_t(tokens.size()) - 1};
    batch.sequences.push_back({int32_t(tokens.size()), context, table_});
    batch.tokens = std::move(tokens);
    batch.samples.push_back({.row = 0, .temperature = 1, .seed = 5, .draw = draw});
    return batch;
  };
  const std::vector<int32_t> prompt = {3, 1, 4, 1, 5};
  constexpr int32_t kTokens = 20;
  std::vector<int32_t> told;
  for (int32_t i = 0; i < kTokens; ++i) {
    const auto tokens = i == 0 ? prompt : std::vector{told.back()};
    told.push_back(runner_->Execute(step(tokens, 5 + i, uint64_t(i))).sampled.at(0).token);
  }
  std::memset(pool_->data(), 0, kv_.pool_bytes());
  std::vector<int32_t> ahead;
  runner_->Begin(step(prompt, 5, 0));
  for (int32_t i = 1; i < kTokens; ++i) {
    runner_->Begin(step({TokenToCome(0)}, 5 + i, uint64_t(i)));
    ahead.push_back(runner_->Finish().sampled.at(0).token);
  }
  ahead.push_back(runner_->Finish().sampled.at(0).token);
  EXPECT_EQ(ahead, told);
}

TEST_F(TransformerTest, GeometryFollowsTheModel) {
  EXPECT_EQ(kv_.num_layers, 2);
  EXPECT_EQ(kv_.num_kv_heads, 1);
  EXPECT_EQ(kv_.head_dim, 4);
  EXPECT_EQ(kv_.block_layer_bytes(), 2u * 16 * 4 * 4);
  EXPECT_EQ(runner_->KvGeometry(8, 16).base, nullptr);
}

// A batch that the engine may not build stops the process: serving it could show another user's
// text.
using TransformerDeathTest = TransformerTest;

TEST_F(TransformerDeathTest, ABatchThatCannotBeStopsTheProcess) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  StepBatch short_table = Batch(20);
  short_table.sequences[0].block_table = short_table.sequences[0].block_table.first(1);
  EXPECT_DEATH(runner_->Execute(short_table), "1 blocks for 20 tokens");
  const std::vector<int32_t> outside{5, 8};
  StepBatch bad_block = Batch(20);
  bad_block.sequences[0].block_table = outside;
  EXPECT_DEATH(runner_->Execute(bad_block), "block 8 of 8");
  StepBatch bad_token = Batch(3);
  bad_token.tokens[1] = 11;
  EXPECT_DEATH(runner_->Execute(bad_token), "token 11 of 11");
  StepBatch too_long = Batch(3);
  too_long.sequences[0].context_tokens = 65;
  EXPECT_DEATH(runner_->Execute(too_long), "the context is 64");
  EXPECT_DEATH(runner_->Execute(Batch(41)), "41 tokens, the limit is 40");
  StepBatch too_few = Batch(3);
  too_few.tokens.push_back(1);
  EXPECT_DEATH(runner_->Execute(too_few), "4 tokens, sequences have 3");
}

}  // namespace
}  // namespace baton::model
