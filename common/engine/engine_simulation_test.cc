// Two engines, a bad network between them and random work, from one seed: whatever happens, a
// sequence has the tokens that it would have alone.

#include <gtest/gtest.h>

#include <cstdlib>
#include <map>
#include <random>

#include "common/base/check.h"
#include "common/engine/testing/chain_runner.h"
#include "common/engine/testing/simulated_transfer.h"
#include "common/engine/testing/simulated_worker.h"

namespace baton::engine {
namespace {

using testing::ChainModelOptions;
using testing::ChainOutput;
using testing::ChainRunner;
using testing::GenerateByChain;
using testing::RecordingObserver;
using testing::SimulatedTransfer;
using testing::SimulatedWorker;

struct Workload {
  int sequences = 12;
  int remote_percent = 0;
  int cancel_percent = 10;   // of the sequences
  int failures_percent = 0;  // of the hand-overs
  PreemptionMode preemption = PreemptionMode::kRecompute;
  int32_t host_blocks = 0;
  int32_t num_blocks_min = 8;
  int32_t num_blocks_max = 40;
  bool looks_ahead = false;  // the decode worker's device; its requests ask for little but tokens
};

class Simulation {
 public:
  Simulation(uint64_t seed, const Workload& workload)
      : workload_(workload),
        random_(seed),
        decode_model_(Model(workload.looks_ahead)),
        prefill_model_(Model(workload.looks_ahead)),
        decode_(Options(), decode_model_, clock_),
        prefill_(Options(), prefill_model_, clock_),
        transfer_(prefill_, decode_, seed + 1, workload.failures_percent) {
    decode_model_.TakeTime(clock_, absl::Microseconds(100));
  }

  // Empty, or what went wrong.
  std::string Run() {
    int idle_rounds = 0;
    while (submitted_ < workload_.sequences || !decode_.idle() || !prefill_.idle()) {
      const bool moved = Tick();
      if (std::string wrong = CheckWorkers(); !wrong.empty()) return wrong;
      idle_rounds = moved ? 0 : idle_rounds + 1;
      if (idle_rounds > 200) return "nobody gets on any more";
      if (++ticks_ > 200'000) return "no end in sight";
    }
    transfer_.Advance();
    if (std::string wrong = decode_.CheckIdle(); !wrong.empty()) return "decode: " + wrong;
    if (std::string wrong = prefill_.CheckIdle(); !wrong.empty()) return "prefill: " + wrong;
    return CheckOutputs();
  }

  // Stops both workers in the middle of it all.
  std::string RunAndStop(int ticks) {
    for (int i = 0; i < ticks; ++i) Tick();
    decode_.core().Shutdown();
    prefill_.core().Shutdown();
    for (const Sent& sent : sent_) {
      const RecordingObserver::Told told = decode_.observer().told(sent.spec.id);
      if (told.finish == FinishReason::kNone) return "a sequence never ended";
      if (told.outputs_after_finish > 0) return "a sequence ended twice";
    }
    for (SimulatedWorker* worker : {&decode_, &prefill_}) {
      const kv::BlockPool::Counters& blocks = worker->core().pool().counters();
      if (blocks.active != 0) return fmt::format("{} blocks are still active", blocks.active);
    }
    return CheckWorkers();
  }

  int64_t preemptions() { return decode_.core().Load().preemptions; }
  int64_t cached_tokens() { return decode_.core().Load().cached_tokens; }
  int64_t begun_ahead() const { return decode_model_.begun_ahead(); }
  const SimulatedTransfer& transfer() const { return transfer_; }

 private:
  struct Sent {
    SequenceSpec spec;
    absl::Duration deadline;
    bool cancelled = false;
  };

  std::string CheckWorkers() {
    for (const ChainRunner* model : {&decode_model_, &prefill_model_}) {
      if (model->broken_links() > 0) return "broken KV: " + model->first_broken_link();
    }
    if (std::string wrong = decode_.CheckAlways(); !wrong.empty()) return "decode: " + wrong;
    if (std::string wrong = prefill_.CheckAlways(); !wrong.empty()) return "prefill: " + wrong;
    return "";
  }

  int Uniform(int low, int high) { return std::uniform_int_distribution<int>(low, high)(random_); }
  bool Chance(int percent) { return Uniform(0, 99) < percent; }

  static ChainModelOptions Model(bool looks_ahead) {
    return {.vocab = 61, .context_tokens_max = 150, .num_layers = 2, .looks_ahead = looks_ahead};
  }

  EngineOptions Options() {
    EngineOptions options;
    if (block_tokens_ == 0) block_tokens_ = Chance(50) ? 4 : 8;  // the same on both sides
    options.block_tokens = block_tokens_;
    options.num_blocks = Uniform(workload_.num_blocks_min, workload_.num_blocks_max);
    options.num_spares = Chance(50) ? Uniform(1, 10) : 0;
    options.quarantine_patience = absl::Milliseconds(Uniform(0, 50));
    options.host_blocks = workload_.host_blocks;
    options.batch_sequences_max = Uniform(1, 8);
    options.step_tokens_max = options.batch_sequences_max + Uniform(0, 30);
    options.itl_target = absl::Milliseconds(Uniform(0, 3));
    options.waiting_sequences_max = 1000;
    options.prefix_cache = !Chance(15);
    options.preemption = workload_.preemption;
    options.salt = "salt";
    return options;
  }

  // One random thing happens. True when something moved.
  bool Tick() {
    clock_.Advance(absl::Milliseconds(1));
    switch (Uniform(0, 9)) {
      case 0:
      case 1:
        return submitted_ < workload_.sequences && SubmitOne();
      case 2:
        return CancelOne();
      case 3:
      case 4:
      case 5:
        return decode_.Step();
      case 6:
        if (Chance(1)) CHECK_OK(decode_.Post(SendSnapshot{}));
        return prefill_.Step();
      default:
        return transfer_.Advance();
    }
  }

  bool SubmitOne() {
    SequenceSpec spec;
    spec.id = {RequestId(fmt::format("r{}", submitted_)), Uniform(0, 1)};
    const int32_t context = std::min(decode_.context_tokens_max(), prefill_.context_tokens_max());
    FillPrompt(spec, std::min(context - 1, Chance(20) ? 120 : 40));
    FillSampling(spec);
    spec.priority = Chance(70) ? 0 : Uniform(-2, 2);
    if (Chance(5)) spec.time_left = absl::Milliseconds(Uniform(1, 200));
    Submit submit{spec, Chance(workload_.remote_percent)};
    if (workload_.remote_percent > 0 && Chance(30)) {
      submit.local_wait_max = absl::Milliseconds(Uniform(0, 5));
    }
    if (submitted_ > 0 && Chance(20)) submit.after = sent_[Uniform(0, submitted_ - 1)].spec.id;
    const absl::Status status = decode_.Post(submit);
    EXPECT_TRUE(status.ok()) << status;
    const absl::Duration deadline = clock_.Monotonic() + spec.time_left;
    sent_.push_back({.spec = std::move(spec), .deadline = deadline});
    ++submitted_;
    return true;
  }

  // Prompts of one family share their beginnings.
  void FillPrompt(SequenceSpec& spec, int32_t tokens_max) {
    const int32_t tokens = Uniform(1, tokens_max);
    const int32_t shared = Chance(70) ? Uniform(0, tokens) : 0;
    const int32_t family = Uniform(0, 2);
    for (int32_t i = 0; i < tokens; ++i) {
      spec.prompt.push_back(i < shared ? (i * 7 + family * 13) % 61 : Uniform(0, 60));
    }
    if (Chance(15)) spec.resumed_tokens = Uniform(0, tokens);
  }

  void FillSampling(SequenceSpec& spec) {
    SamplingParams& params = spec.sampling;
    params.temperature = Chance(50) ? 0 : 1;
    params.seed = Uniform(0, 1000);
    params.max_tokens = Uniform(1, Chance(20) ? 150 : 30);
    if (Chance(30)) params.min_tokens = Uniform(0, *params.max_tokens);
    params.ignore_eos = Chance(30);
    if (Chance(30)) params.stop_token_ids = {Uniform(0, 60), Uniform(0, 60)};
    if (Chance(20)) params.logit_bias = {{Uniform(0, 60), 2.0f}};
    if (Chance(5)) params.max_tokens = params.min_tokens = 0;
    if (workload_.looks_ahead && !Chance(5)) return;
    if (Chance(30)) params.repetition_penalty = 1.5;
    if (Chance(30)) params.presence_penalty = 0.5;
    if (Chance(20)) params.frequency_penalty = 0.5;
    if (Chance(20)) params.logprobs = Uniform(0, 3);
    if (Chance(25)) params.prompt_logprobs = Uniform(0, 3);
  }

  bool CancelOne() {
    if (sent_.empty() || !Chance(workload_.cancel_percent)) return false;
    Sent& sent = sent_[Uniform(0, submitted_ - 1)];
    sent.cancelled = true;
    EXPECT_TRUE(decode_.Post(Cancel{sent.spec.id}).ok());
    return true;
  }

  std::string CheckOutputs() {
    for (const Sent& sent : sent_) {
      if (std::string wrong = CheckOutput(sent); !wrong.empty()) {
        return fmt::format("{}: {}", sent.spec.id.request.value(), wrong);
      }
    }
    return "";
  }

  // In order, without a gap, nothing twice, and with the scores it would have alone, however often
  // it was preempted; all of it once there is a token, or once it has ended well.
  std::string CheckPrompt(const RecordingObserver::Told& told, const ChainOutput& expected) {
    const bool all = !told.tokens.empty() || told.finish == FinishReason::kLength;
    if (told.prompt.size() > expected.prompt.size()) return "too much of the prompt";
    if (all && told.prompt.size() < expected.prompt.size()) return "not all of the prompt";
    for (size_t i = 0; i < told.prompt.size(); ++i) {
      const GeneratedToken& got = told.prompt[i];
      const GeneratedToken& want = expected.prompt[i];
      if (got.token != want.token) return fmt::format("prompt token {} differs", i);
      const bool same = std::ranges::equal(got.top, want.top, [](const auto& a, const auto& b) {
        return a.token == b.token && a.logprob == b.logprob;
      });
      if (got.logprob != want.logprob || !same) {
        return fmt::format("logprobs of prompt token {} differ", i);
      }
    }
    return "";
  }

  std::string CheckOutput(const Sent& sent) {
    const RecordingObserver::Told told = decode_.observer().told(sent.spec.id);
    const ChainOutput expected =
        GenerateByChain(sent.spec, decode_.info(), decode_.context_tokens_max());
    if (told.outputs_after_finish > 0) return "spoke after its end";
    if (told.prompt_after_tokens) return "told of its prompt after its first token";
    if (std::string wrong = CheckPrompt(told, expected); !wrong.empty()) return wrong;
    if (told.tokens.size() > expected.tokens.size()) return "too many tokens";
    for (size_t i = 0; i < told.tokens.size(); ++i) {
      const GeneratedToken& got = told.tokens[i];
      const GeneratedToken& want = expected.tokens[i];
      if (got.token != want.token) return fmt::format("token {} differs", i);
      if (got.logprob != want.logprob || got.top.size() != want.top.size()) {
        return fmt::format("logprobs of token {} differ", i);
      }
    }
    switch (told.finish) {
      case FinishReason::kNone:
        return "never ended";
      case FinishReason::kCancelled:
        return sent.cancelled ? "" : "cancelled by nobody";
      case FinishReason::kError:
        if (told.status.code() != absl::StatusCode::kDeadlineExceeded) return "failed";
        return sent.deadline <= clock_.Monotonic() ? "" : "failed before its deadline";
      default:
        if (told.tokens.size() != expected.tokens.size()) return "too few tokens";
        return told.finish == expected.finish ? "" : "ended for another reason";
    }
  }

  const Workload workload_;
  std::mt19937_64 random_;
  int32_t block_tokens_ = 0;
  ManualClock clock_;
  ChainRunner decode_model_;
  ChainRunner prefill_model_;
  SimulatedWorker decode_;
  SimulatedWorker prefill_;
  SimulatedTransfer transfer_;
  std::vector<Sent> sent_;
  int submitted_ = 0;
  int64_t ticks_ = 0;
};

// BATON_SIMULATION_SEEDS asks for more; BATON_SIMULATION_SEED for a single one.
struct Totals {
  int64_t preemptions = 0;
  int64_t cached_tokens = 0;
  int64_t pieces_landed = 0;
  int64_t attempts_failed = 0;
  int64_t begun_ahead = 0;
};

Totals RunSeeds(const Workload& workload, uint64_t salt) {
  const char* count = std::getenv("BATON_SIMULATION_SEEDS");
  const char* single = std::getenv("BATON_SIMULATION_SEED");
  const uint64_t seeds = count != nullptr ? std::strtoull(count, nullptr, 10) : 400;
  Totals totals;
  for (uint64_t i = 0; i < seeds; ++i) {
    const uint64_t seed = single != nullptr ? std::strtoull(single, nullptr, 10) : salt + i;
    Simulation simulation(seed, workload);
    const std::string wrong = simulation.Run();
    EXPECT_EQ(wrong, "") << "BATON_SIMULATION_SEED=" << seed;
    totals.preemptions += simulation.preemptions();
    totals.cached_tokens += simulation.cached_tokens();
    totals.begun_ahead += simulation.begun_ahead();
    totals.pieces_landed += simulation.transfer().pieces_landed();
    totals.attempts_failed += simulation.transfer().attempts_failed();
    if (!wrong.empty() || single != nullptr) break;
  }
  return totals;
}

TEST(EngineSimulationTest, BatchesChunksAndCachedPrefixesChangeNoToken) {
  const Totals totals = RunSeeds({.num_blocks_min = 60, .num_blocks_max = 200}, 1'000'000);
  EXPECT_GT(totals.cached_tokens, 0);
}

TEST(EngineSimulationTest, PreemptionByRecomputeChangesNoToken) {
  const Totals totals = RunSeeds({.preemption = PreemptionMode::kRecompute}, 2'000'000);
  EXPECT_GT(totals.preemptions, 0);
}

TEST(EngineSimulationTest, PreemptionBySwapChangesNoToken) {
  const Totals totals =
      RunSeeds({.preemption = PreemptionMode::kSwap, .host_blocks = 24}, 3'000'000);
  EXPECT_GT(totals.preemptions, 0);
}

TEST(EngineSimulationTest, RemotePrefillChangesNoToken) {
  const Totals totals = RunSeeds({.remote_percent = 70}, 4'000'000);
  EXPECT_GT(totals.pieces_landed, 0);
}

TEST(EngineSimulationTest, FailedHandOversAndStaleWritesHarmNobody) {
  const Totals totals = RunSeeds({.remote_percent = 90,
                                  .cancel_percent = 30,
                                  .failures_percent = 40,
                                  .preemption = PreemptionMode::kSwap,
                                  .host_blocks = 8},
                                 5'000'000);
  EXPECT_GT(totals.attempts_failed, 0);
}

TEST(EngineSimulationTest, TinyPoolsStillGetEverythingDone) {
  const Totals totals = RunSeeds({.sequences = 16,
                                  .remote_percent = 40,
                                  .failures_percent = 20,
                                  .num_blocks_min = 2,
                                  .num_blocks_max = 8},
                                 6'000'000);
  EXPECT_GT(totals.preemptions, 0);
}

TEST(EngineSimulationTest, StepsBegunAheadChangeNoToken) {
  const Totals totals = RunSeeds(
      {.cancel_percent = 30, .num_blocks_min = 40, .num_blocks_max = 200, .looks_ahead = true},
      8'000'000);
  EXPECT_GT(totals.begun_ahead, 0);
}

TEST(EngineSimulationTest, StepsBegunAheadInSmallPoolsWithRemotePrefillsChangeNoToken) {
  const Totals totals = RunSeeds({.remote_percent = 60,
                                  .cancel_percent = 30,
                                  .failures_percent = 30,
                                  .preemption = PreemptionMode::kSwap,
                                  .host_blocks = 16,
                                  .looks_ahead = true},
                                 9'000'000);
  EXPECT_GT(totals.begun_ahead, 0);
  EXPECT_GT(totals.preemptions, 0);
  EXPECT_GT(totals.pieces_landed, 0);
}

TEST(EngineSimulationTest, StoppedAtAnyMomentEverythingEndsOnce) {
  for (uint64_t seed = 7'000'000; seed < 7'000'300; ++seed) {
    Simulation simulation(seed, {.remote_percent = 60,
                                 .failures_percent = 30,
                                 .preemption = PreemptionMode::kSwap,
                                 .host_blocks = 12,
                                 .looks_ahead = seed % 2 == 0});
    ASSERT_EQ(simulation.RunAndStop(static_cast<int>(seed % 211)), "") << seed;
  }
}

}  // namespace
}  // namespace baton::engine
