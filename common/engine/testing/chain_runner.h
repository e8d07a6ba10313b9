#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "common/base/clock.h"
#include "common/model/model_runner.h"
#include "common/request/generated_token.h"
#include "common/request/sequence_spec.h"

namespace baton::engine::testing {

struct ChainModelOptions {
  int32_t vocab = 61;
  int32_t context_tokens_max = 512;
  int32_t num_layers = 2;
  std::vector<int32_t> eos_token_ids = {3};
  bool looks_ahead = false;  // then a step is run as late as it may be: when it is finished
};

// A model made up for tests of everything around a model. In each layer, the KV slot of a position
// holds a hash of the token there and of the slot before it, so that a slot vouches for the whole
// context up to it. Execute() reads every slot of every context through the block table and checks
// the chain: a wrong block table, a stale block, a missing or misplaced copy shows as a broken link
// and as other tokens. The next token is a hash of the last link in every layer and of the sampling
// arguments.
class ChainRunner : public model::ModelRunner {
 public:
  explicit ChainRunner(const ChainModelOptions& options = {});

  const model::ModelInfo& info() const override { return info_; }
  kernels::KvView KvGeometry(int32_t num_blocks, int32_t block_tokens) const override;
  void BindRankKv(int32_t /*rank*/, const kernels::KvView& kv) override { kv_ = kv; }
  model::StepResult Execute(const model::StepBatch& batch) override;
  bool looks_ahead() const override { return looks_ahead_; }
  void Begin(const model::StepBatch& batch) override;
  model::StepResult Finish() override;
  std::span<const float> last_logits() const override { return logits_; }

  // From now on every token of a step takes so long on `clock`, which outlives the runner.
  void TakeTime(ManualClock& clock, absl::Duration per_token) {
    clock_ = &clock;
    per_token_ = per_token;
  }
  // Geometry and memory in one, bound to this runner and owned by it. The memory starts as noise.
  const kernels::KvView& AllocateKv(int32_t num_blocks, int32_t block_tokens);

  int64_t broken_links() const { return broken_links_; }
  const std::string& first_broken_link() const { return first_broken_link_; }
  int64_t steps() const { return steps_; }
  int64_t begun_ahead() const { return begun_ahead_; }  // while another step was under way

 private:
  struct Slot;
  // A step that was begun, with lists of its own: the batch's are borrowed for Begin() alone.
  struct Begun {
    explicit Begun(const model::StepBatch& from);
    model::StepBatch batch;
    std::deque<std::vector<int32_t>> ids;  // block tables, banned and seen tokens
    std::deque<std::vector<std::pair<int32_t, float>>> biases;
    std::deque<std::vector<std::pair<int32_t, int32_t>>> counts;
    std::optional<model::StepResult> result;
  };
  model::StepResult Run(const model::StepBatch& batch);
  void RunFirst(Begun& step);
  Slot& SlotAt(int32_t layer, const model::StepSequence& sequence, int32_t position, bool value);
  uint64_t RunLayer(int32_t layer, const model::StepSequence& sequence, const int32_t* tokens,
                    std::vector<uint64_t>& states);
  void CheckLink(int32_t layer, const model::StepSequence& sequence, int32_t position,
                 uint64_t link);

  model::ModelInfo info_;
  ManualClock* clock_ = nullptr;  // null: steps take no time
  absl::Duration per_token_;
  kernels::KvView kv_;
  std::vector<std::byte> memory_;
  std::vector<float> logits_;
  int64_t broken_links_ = 0;
  std::string first_broken_link_;
  int64_t steps_ = 0;
  int64_t begun_ahead_ = 0;
  const bool looks_ahead_;
  std::deque<Begun> begun_;
  std::vector<kernels::SampledToken> last_sampled_;
};

// What a sequence must produce, computed in the plainest way: one sequence, no cache, no engine.
struct ChainOutput {
  std::vector<GeneratedToken> prompt;  // with prompt_logprobs
  std::vector<GeneratedToken> tokens;
  FinishReason finish = FinishReason::kNone;
};
ChainOutput GenerateByChain(const SequenceSpec& spec, const model::ModelInfo& info,
                            int32_t context_tokens_max);

}  // namespace baton::engine::testing
