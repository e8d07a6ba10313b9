// Promise 1, through the engine, on the real CPU backend and real (tiny) models of every family:
// whatever else is in the batch, however the prompt is cut, wherever its KV comes from, a sequence
// has the same tokens, and the logits they were picked from are equal to the last bit. And they are
// the reference's.

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "common/base/check.h"
#include "common/engine/testing/simulated_transfer.h"
#include "common/engine/testing/simulated_worker.h"
#include "common/model/load_model.h"
#include "kernels/backend.h"
#include "tests/oracle/golden.h"

namespace baton::engine {
namespace {

using testing::SimulatedTransfer;
using testing::SimulatedWorker;

// Keeps the logits of every sampled row, by the sequence's seed and the token's index.
class LogitsKeeper : public model::ModelRunner {
 public:
  explicit LogitsKeeper(model::ModelRunner& runner) : runner_(runner) {}

  const model::ModelInfo& info() const override { return runner_.info(); }
  kernels::KvView KvGeometry(int32_t num_blocks, int32_t block_tokens) const override {
    return runner_.KvGeometry(num_blocks, block_tokens);
  }
  void BindRankKv(int32_t /*rank*/, const kernels::KvView& kv) override { kv_ = kv; }
  std::span<const float> last_logits() const override { return runner_.last_logits(); }

  model::StepResult Execute(const model::StepBatch& batch) override {
    runner_.BindKv(kv_);  // two workers share one set of weights
    model::StepResult result = runner_.Execute(batch);
    const std::span<const float> logits = runner_.last_logits();
    const size_t vocab = info().vocab;
    for (const kernels::SampleArgs& args : batch.samples) {
      const std::span<const float> row = logits.subspan(args.row * vocab, vocab);
      rows_[{args.seed, args.draw}].assign(row.begin(), row.end());
    }
    return result;
  }

  using Rows = std::map<std::pair<uint64_t, uint64_t>, std::vector<float>>;
  const Rows& rows() const { return rows_; }

 private:
  model::ModelRunner& runner_;
  kernels::KvView kv_;
  Rows rows_;
};

// As bits, so that equal means equal.
struct Chance {
  int32_t token = 0;
  std::optional<uint32_t> logprob;
  bool operator==(const Chance&) const = default;
};

Chance ChanceOf(int32_t token, std::optional<float> logprob) {
  if (!logprob) return {token, std::nullopt};
  return {token, std::bit_cast<uint32_t>(*logprob)};
}

struct Outcome {
  std::map<SequenceId, std::vector<int32_t>> tokens;
  std::map<SequenceId, std::vector<Chance>> prompts;  // each token, then the likeliest in its place
  LogitsKeeper::Rows logits;
  int64_t preemptions = 0;
  int64_t cached_tokens = 0;
};

EngineOptions Roomy() {
  EngineOptions options;
  options.block_tokens = 16;
  options.num_blocks = 256;
  return options;
}

class EngineInvarianceTest : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    golden_ = oracle::ReadGolden(GetParam());
    backend_ = kernels::MakeCpuBackend({.num_threads = 2});
    ASSERT_NE(backend_, nullptr);
    auto runner = model::LoadModel({.model_dir = golden_.folder}, *backend_);
    ASSERT_TRUE(runner.ok()) << runner.status();
    runner_ = *std::move(runner);
    MakeSpecs();
    alone_ = Alone();
  }

  // Every prompt of the golden: greedy, drawn with penalties, and scored.
  void MakeSpecs() {
    uint64_t seed = 1;
    for (const oracle::GoldenPrompt& prompt : golden_.prompts) {
      for (const float temperature : {0.0f, 0.9f}) {
        SequenceSpec spec;
        spec.id = {RequestId(fmt::format("s{}", seed)), 0};
        spec.prompt = prompt.ids;
        spec.sampling.temperature = temperature;
        spec.sampling.seed = seed++;
        spec.sampling.ignore_eos = true;
        spec.sampling.max_tokens = temperature == 0 ? int32_t(prompt.greedy.size()) : 24;
        if (temperature > 0) {
          spec.sampling.repetition_penalty = 1.2f;
          spec.sampling.frequency_penalty = 0.3f;
          spec.sampling.top_p = 0.95f;
        }
        specs_.push_back(std::move(spec));
      }
      // Half of them for the scores alone.
      SequenceSpec spec = specs_.back();
      spec.id = {RequestId(fmt::format("s{}", seed)), 0};
      spec.sampling.max_tokens = seed % 2 == 0 ? 0 : 8;
      spec.sampling.seed = seed++;
      spec.sampling.prompt_logprobs = 3;
      specs_.push_back(std::move(spec));
    }
  }

  // One by one, whole prompts, no cache: as plain as the engine can be.
  Outcome Alone() {
    Outcome all;
    for (const SequenceSpec& spec : specs_) {
      EngineOptions options = Roomy();
      options.prefix_cache = false;
      Outcome one = Run(options, {spec});
      all.tokens.merge(one.tokens);
      all.prompts.merge(one.prompts);
      all.logits.merge(one.logits);
    }
    return all;
  }

  Outcome Run(const EngineOptions& options, const std::vector<SequenceSpec>& specs,
              int rounds = 1) {
    LogitsKeeper keeper(*runner_);
    SimulatedWorker worker(options, keeper, clock_);
    for (int round = 0; round < rounds; ++round) {
      for (SequenceSpec spec : specs) {
        spec.id.choice = round;
        CHECK_OK(worker.Post(Submit{spec}));
      }
      while (!worker.idle()) CHECK(worker.Step(), "stuck");
    }
    EXPECT_EQ(worker.CheckIdle(), "");
    return Collect(worker, keeper, specs, rounds - 1);
  }

  Outcome Collect(SimulatedWorker& worker, const LogitsKeeper& keeper,
                  const std::vector<SequenceSpec>& specs, int32_t choice) {
    Outcome outcome;
    for (const SequenceSpec& spec : specs) {
      const auto told = worker.observer().told({spec.id.request, choice});
      EXPECT_EQ(told.finish, FinishReason::kLength);
      EXPECT_EQ(told.prompt.size(), spec.sampling.prompt_logprobs ? spec.prompt.size() : 0);
      for (const GeneratedToken& token : told.prompt) {
        outcome.prompts[spec.id].push_back(ChanceOf(token.token, token.logprob));
        for (const TokenChance& chance : token.top) {
          outcome.prompts[spec.id].push_back(ChanceOf(chance.token, chance.logprob));
        }
      }
      for (const GeneratedToken& token : told.tokens) {
        outcome.tokens[spec.id].push_back(token.token);
      }
    }
    outcome.logits = keeper.rows();
    outcome.preemptions = worker.core().Load().preemptions;
    outcome.cached_tokens = worker.core().Load().cached_tokens;
    return outcome;
  }

  void ExpectAsAlone(const Outcome& outcome) {
    EXPECT_EQ(outcome.tokens, alone_.tokens);
    EXPECT_TRUE(outcome.prompts == alone_.prompts) << "log-probabilities of a prompt differ";
    ASSERT_EQ(outcome.logits.size(), alone_.logits.size());
    for (const auto& [key, row] : alone_.logits) {
      const auto found = outcome.logits.find(key);
      ASSERT_NE(found, outcome.logits.end());
      ASSERT_EQ(std::memcmp(row.data(), found->second.data(), row.size() * sizeof(float)), 0)
          << "logits of token " << key.second << " of the sequence with seed " << key.first;
    }
  }

  static std::vector<double> LogSoftmax(const std::vector<float>& logits) {
    const double largest = *std::max_element(logits.begin(), logits.end());
    double sum = 0;
    for (const float logit : logits) sum += std::exp(logit - largest);
    std::vector<double> result;
    for (const float logit : logits) result.push_back(logit - largest - std::log(sum));
    return result;
  }

  // `told`: the token and its three likeliest rivals, for every token of the prompt but the first,
  // which comes alone and without a score.
  static void ExpectScoresOf(const oracle::GoldenPrompt& prompt, const std::vector<Chance>& told) {
    ASSERT_EQ(told.size(), 1 + 4 * (prompt.ids.size() - 1));
    EXPECT_EQ(told[0], (Chance{prompt.ids[0], std::nullopt}));
    const auto value = [](const Chance& chance) { return std::bit_cast<float>(*chance.logprob); };
    for (size_t i = 1; i < prompt.ids.size(); ++i) {
      const std::span<const Chance> here(told.data() + 1 + 4 * (i - 1), 4);
      const std::vector<double> reference = LogSoftmax(prompt.logits[i - 1]);
      EXPECT_EQ(here[0].token, prompt.ids[i]);
      for (const Chance& chance : here) {
        EXPECT_NEAR(value(chance), reference[chance.token], 1e-4) << "position " << i;
      }
      std::vector<double> likeliest = reference;
      std::sort(likeliest.begin(), likeliest.end(), std::greater<>());
      for (int k = 0; k < 3; ++k) EXPECT_NEAR(value(here[1 + k]), likeliest[k], 1e-4);
    }
  }

  // So few blocks that the longest sequence fits, and little else.
  EngineOptions Cramped() {
    size_t longest = 0;
    for (const SequenceSpec& spec : specs_) {
      longest = std::max(longest, spec.prompt.size() + *spec.sampling.max_tokens);
    }
    EngineOptions options = Roomy();
    options.num_blocks = int32_t(longest) / options.block_tokens + 3;
    options.step_tokens_max = 96;
    return options;
  }

  ManualClock clock_;
  oracle::Golden golden_;
  std::unique_ptr<kernels::Backend> backend_;
  std::unique_ptr<model::ModelRunner> runner_;
  std::vector<SequenceSpec> specs_;
  Outcome alone_;
};

// The reference computed in float32, whatever the weights are stored in; so does this one.
TEST_P(EngineInvarianceTest, AloneInF32ItSaysWhatTheReferenceSays) {
  auto runner =
      model::LoadModel({.model_dir = golden_.folder, .dtype = model::WeightDType::kF32}, *backend_);
  ASSERT_TRUE(runner.ok()) << runner.status();
  runner_ = *std::move(runner);
  const Outcome alone = Alone();
  for (size_t i = 0; i < golden_.prompts.size(); ++i) {
    EXPECT_EQ(alone.tokens.at(specs_[3 * i].id), golden_.prompts[i].greedy) << "prompt " << i;
    ExpectScoresOf(golden_.prompts[i], alone.prompts.at(specs_[3 * i + 2].id));
  }
}

TEST_P(EngineInvarianceTest, InABatch) { ExpectAsAlone(Run(Roomy(), specs_)); }

TEST_P(EngineInvarianceTest, InChunksOfAnySize) {
  for (const int32_t step_tokens : {1, 3, 17, 40}) {
    EngineOptions options = Roomy();
    options.step_tokens_max = step_tokens;
    options.batch_sequences_max = std::min(step_tokens, 5);
    ExpectAsAlone(Run(options, specs_));
  }
}

TEST_P(EngineInvarianceTest, WithBlocksOf32And64) {
  for (const int32_t block_tokens : {32, 64}) {
    EngineOptions options = Roomy();
    options.block_tokens = block_tokens;
    ExpectAsAlone(Run(options, specs_));
  }
}

// A chunk's scores go through the head in slices of logits_rows_max.
TEST_P(EngineInvarianceTest, WithAHeadOfAFewRowsAtATime) {
  auto runner = model::LoadModel({.model_dir = golden_.folder, .logits_rows_max = 3}, *backend_);
  ASSERT_TRUE(runner.ok()) << runner.status();
  runner_ = *std::move(runner);
  EngineOptions options = Roomy();
  options.batch_sequences_max = 3;
  options.step_tokens_max = 200;
  ExpectAsAlone(Run(options, specs_));
}

TEST_P(EngineInvarianceTest, WithACachedPrefix) {
  const Outcome outcome = Run(Roomy(), specs_, /*rounds=*/2);
  EXPECT_GT(outcome.cached_tokens, 0);
  ExpectAsAlone(outcome);
}

TEST_P(EngineInvarianceTest, AfterPreemptionByRecompute) {
  EngineOptions options = Cramped();
  options.preemption = PreemptionMode::kRecompute;
  const Outcome outcome = Run(options, specs_);
  EXPECT_GT(outcome.preemptions, 0);
  ExpectAsAlone(outcome);
}

TEST_P(EngineInvarianceTest, AfterPreemptionBySwap) {
  EngineOptions options = Cramped();
  options.preemption = PreemptionMode::kSwap;
  options.host_blocks = 64;
  const Outcome outcome = Run(options, specs_);
  EXPECT_GT(outcome.preemptions, 0);
  ExpectAsAlone(outcome);
}

TEST_P(EngineInvarianceTest, PrefilledElsewhere) {
  LogitsKeeper prefill_keeper(*runner_);
  LogitsKeeper decode_keeper(*runner_);
  EngineOptions options = Roomy();
  options.step_tokens_max = 70;  // long prompts travel chunk by chunk
  SimulatedWorker prefill(options, prefill_keeper, clock_);
  SimulatedWorker decode(options, decode_keeper, clock_);
  SimulatedTransfer transfer(prefill, decode, /*seed=*/1, /*failures_percent=*/0);
  for (const SequenceSpec& spec : specs_) CHECK_OK(decode.Post(Submit{spec, true}));
  while (!decode.idle() || !prefill.idle()) {
    decode.Step();
    prefill.Step();
    transfer.Advance();
  }
  EXPECT_EQ(decode.CheckIdle(), "");
  EXPECT_EQ(prefill.CheckIdle(), "");
  EXPECT_GT(transfer.pieces_landed(), 0);
  Outcome outcome = Collect(decode, decode_keeper, specs_, 0);
  for (const auto& [key, row] : prefill_keeper.rows()) outcome.logits.emplace(key, row);
  ExpectAsAlone(outcome);
}

INSTANTIATE_TEST_SUITE_P(Models, EngineInvarianceTest, ::testing::ValuesIn(oracle::GoldenNames()),
                         [](const auto& info) {
                           std::string name = info.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace baton::engine
