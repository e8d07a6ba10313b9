// Engines whose KV pool lies on a device that peers cannot reach: blocks travel through the mirrors
// in host memory, and preempted ones into swap slots. On the emulation of CUDA, where the host's
// bytes and the device's are kept apart: a copy that is forgotten is a read of the wrong bytes.

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <vector>

#include "common/base/check.h"
#include "common/engine/testing/simulated_worker.h"
#include "common/model/load_model.h"
#include "kernels/cuda/backend/cuda_backend.h"
#include "kernels/cuda/testing/harness.h"
#include "tests/oracle/golden.h"

namespace baton::engine {
namespace {

using testing::SimulatedWorker;

constexpr int32_t kOutputTokens = 20;

std::unique_ptr<kernels::Backend> MakeCuda() {
  std::unique_ptr<kernels::Backend> backend;
  const kernels::cuda::Error error = kernels::cuda::CudaBackend::Create(
      {.deterministic = true, .staging_bytes = 1 << 20, .workspace_bytes = 1 << 20}, &backend);
  CHECK(!error, "{}", *error);
  return backend;
}

// A worker with weights and a device of its own.
struct Side {
  Side(const std::filesystem::path& folder, const EngineOptions& options, const Clock& clock)
      : backend(MakeCuda()) {
    auto loaded = model::LoadModel({.model_dir = folder,
                                    .dtype = model::WeightDType::kF32,
                                    .step_tokens_max = options.step_tokens_max,
                                    .logits_rows_max = options.batch_sequences_max},
                                   *backend);
    CHECK_OK(loaded.status());
    runner = *std::move(loaded);
    worker = std::make_unique<SimulatedWorker>(options, *runner, clock, *backend);
  }
  void StepUntilStill() {
    while (worker->Step()) {
    }
  }
  std::unique_ptr<kernels::Backend> backend;
  std::unique_ptr<model::ModelRunner> runner;
  std::unique_ptr<SimulatedWorker> worker;
};

class DeviceHandoverTest : public ::testing::Test {
 protected:
  void TearDown() override { EXPECT_EQ(kernels::cuda::testing::Complaints(), ""); }

  static EngineOptions Options() {
    EngineOptions options;
    options.num_blocks = 24;
    options.step_tokens_max = 24;
    options.batch_sequences_max = 4;
    return options;
  }
  SequenceSpec Spec(size_t prompt) const {
    SequenceSpec spec;
    spec.id = {RequestId(fmt::format("prompt-{}", prompt)), 0};
    spec.prompt = golden_.prompts[prompt].ids;
    spec.sampling.temperature = 0;
    spec.sampling.max_tokens = kOutputTokens;
    spec.sampling.ignore_eos = true;
    return spec;
  }
  void ExpectTheReferencesTokens(SimulatedWorker& worker, size_t prompt) {
    std::vector<int32_t> tokens;
    for (const auto& token : worker.observer().told(Spec(prompt).id).tokens) {
      tokens.push_back(token.token);
    }
    const std::vector<int32_t>& want = golden_.prompts[prompt].greedy;
    EXPECT_EQ(tokens, std::vector<int32_t>(want.begin(), want.begin() + kOutputTokens));
  }

  ManualClock clock_;
  oracle::Golden golden_ = oracle::ReadGolden("llama-mha");
};

TEST_F(DeviceHandoverTest, ARemotePromptArrivesThroughBothMirrors) {
  Side prefill(golden_.folder, Options(), clock_), decode(golden_.folder, Options(), clock_);
  const SequenceSpec spec = Spec(3);  // 33 tokens: two chunks, three blocks
  CHECK_OK(decode.worker->Post(Submit{.spec = spec, .remote_prefill = true}));
  decode.StepUntilStill();
  const auto needed = decode.worker->observer().TakePrefillNeeded();
  ASSERT_EQ(needed.size(), 1u);
  CHECK_OK(prefill.worker->Post(SubmitPrefill{needed[0].spec, needed[0].epoch, 0}));
  prefill.StepUntilStill();
  for (const KvReady& ready : prefill.worker->observer().TakeKvReady()) {
    for (size_t i = 0; i < ready.blocks.size(); ++i) {
      const BlockId to = needed[0].blocks.at(size_t(ready.first_block) + i);
      std::memcpy(decode.worker->kv().piece(ready.layer, to.value()),
                  prefill.worker->kv().piece(ready.layer, ready.blocks[i].value()),
                  decode.worker->kv().block_layer_bytes());
    }
  }
  const auto done = prefill.worker->observer().TakePrefillDone();
  ASSERT_EQ(done.size(), 1u);
  CHECK_OK(prefill.worker->Post(KvSent{spec.id, needed[0].epoch}));
  CHECK_OK(decode.worker->Post(KvArrived{spec.id, needed[0].epoch, done[0].first}));
  decode.StepUntilStill();
  ExpectTheReferencesTokens(*decode.worker, 3);
  EXPECT_TRUE(decode.worker->observer().told(spec.id).times.remote_prefill);
}

// One ends in the middle of the others, by a token that is known when its next step has begun.
TEST_F(DeviceHandoverTest, StepsBegunAheadChangeNoToken) {
  for (const bool look_ahead : {false, true}) {
    EngineOptions options = Options();
    options.look_ahead = look_ahead;
    Side side(golden_.folder, options, clock_);
    for (const size_t prompt : {0, 1, 3}) {
      SequenceSpec spec = Spec(prompt);
      if (prompt == 1) spec.sampling.stop_token_ids = {golden_.prompts[1].greedy[6]};
      CHECK_OK(side.worker->Post(Submit{.spec = spec}));
      side.worker->Step();  // the next one joins a batch that is under way
    }
    side.StepUntilStill();
    ExpectTheReferencesTokens(*side.worker, 0);
    ExpectTheReferencesTokens(*side.worker, 3);
    const auto told = side.worker->observer().told(Spec(1).id);
    EXPECT_EQ(told.finish, FinishReason::kStop);
    const auto& greedy = golden_.prompts[1].greedy;
    const auto stop = std::find(greedy.begin(), greedy.end(), greedy[6]);
    EXPECT_EQ(told.tokens.size(), size_t(stop - greedy.begin()) + 1);
    EXPECT_EQ(side.worker->core().pool().counters().active, 0);
  }
}

TEST_F(DeviceHandoverTest, PreemptedSequencesComeBackFromTheirSwapSlots) {
  EngineOptions options = Options();
  options.num_blocks = 5;  // two prompts fit, what they generate does not
  options.host_blocks = 8;
  options.preemption = PreemptionMode::kSwap;
  options.prefix_cache = false;
  golden_.prompts[1].ids = golden_.prompts[3].ids;  // 33 tokens: three blocks
  golden_.prompts[1].ids.resize(30);
  Side alone(golden_.folder, Options(), clock_), side(golden_.folder, options, clock_);
  std::vector<std::vector<int32_t>> want;
  for (const size_t prompt : {1, 2}) {
    CHECK_OK(alone.worker->Post(Submit{.spec = Spec(prompt)}));
    alone.StepUntilStill();
    CHECK_OK(side.worker->Post(Submit{.spec = Spec(prompt)}));
  }
  CHECK_OK(side.worker->Post(Submit{.spec = Spec(3)}));
  side.StepUntilStill();
  for (const size_t prompt : {1, 2}) {
    const SequenceId id = Spec(prompt).id;
    const auto got = side.worker->observer().told(id).tokens;
    const auto expected = alone.worker->observer().told(id).tokens;
    ASSERT_EQ(got.size(), expected.size());
    for (size_t i = 0; i < got.size(); ++i) EXPECT_EQ(got[i].token, expected[i].token);
  }
  ExpectTheReferencesTokens(*side.worker, 3);
  EXPECT_GT(side.worker->core().Load().preemptions, 0);
}

}  // namespace
}  // namespace baton::engine
