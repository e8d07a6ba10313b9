#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "common/model/hf_config.h"
#include "common/model/model_runner.h"
#include "common/model/shard.h"
#include "common/model/weights.h"
#include "kernels/backend.h"
#include "kernels/collective.h"

namespace baton::model {

struct TransformerOptions {
  std::string name;         // served name, for ModelInfo
  std::string fingerprint;  // for ModelInfo
  kernels::DType kv_dtype = kernels::DType::kF32;
  int32_t step_tokens_max = 512;   // T of the largest batch that Execute() will see
  int32_t logits_rows_max = 256;   // R of the largest batch, and rows of a slice of scores
  int32_t context_tokens_max = 0;  // 0, or fewer than the model's own
};

// A rank's part of a transformer, and its way to the others.
struct RankOptions {
  Shard shard;
  kernels::Collective* collective = nullptr;  // outlives the transformer; null where size is 1
  // The group is lost. Called on the rank's thread; does not return. Empty: a CHECK fails.
  std::function<void(const std::string& what)> on_failure;
};

// What a transformer allocates besides weights and KV: scratch for a step, and the rope tables.
size_t ScratchBytes(const HfConfig& config, const Shard& shard, const TransformerOptions& options,
                    kernels::DType activation);

// A decoder-only transformer (Llama, Mistral, Qwen2, Qwen3) written once against Backend:
//
//   embed -> layers { norm, qkv, rope and write K V, attention, o, norm, gate and up, silu, down }
//         -> norm -> head -> sample
//
// The residual stream is f32. In the last layer only the rows whose logits are wanted go on after
// their K and V are written; batch invariance makes that invisible in the bits. All scratch memory
// is allocated at construction. One owner thread; the backend outlives it.
//
// One rank of a divided model (RankOptions) does the same over its share, and all ranks run the
// same batches at the same time. The residual stream is equal on all of them. o and down give a
// rank's part of a sum, which rank 0 adds to the stream and the others put in its place, so that
// summing the streams over the ranks is all there is to do. Rank 0 has the logits and samples.
class Transformer : public ModelRunner {
 public:
  Transformer(HfConfig config, Weights weights, kernels::Backend& backend,
              const TransformerOptions& options, RankOptions rank);
  ~Transformer() override;

  const ModelInfo& info() const override { return info_; }
  kernels::KvView KvGeometry(int32_t num_blocks, int32_t block_tokens) const override;
  void BindRankKv(int32_t rank, const kernels::KvView& kv) override;
  StepResult Execute(const StepBatch& batch) override;
  bool looks_ahead() const override { return backend_.is_asynchronous(); }
  // On any backend; where it is not asynchronous nothing is gained.
  void Begin(const StepBatch& batch) override { BeginStep(batch, batch.on_layer); }
  StepResult Finish() override;
  std::span<const float> last_logits() const override;

  // Begin() with this rank's own `on_layer`. What is sampled and scored is rank 0's to tell.
  void BeginStep(const StepBatch& batch, const std::function<void(int32_t layer)>& on_layer);

 private:
  // Rows of the residual stream on their way through a layer, and the sequences they belong to.
  struct Rows {
    float* residual = nullptr;  // [count, H]
    float* q = nullptr;         // [count, Hq D]: the rank's own Hq, as everywhere below
    int32_t count = 0;
    std::span<const kernels::AttentionSequence> sequences;
  };

  // A step that was begun: what the host knows of it, and where the rest is on its way to.
  struct Begun {
    StepResult result;
    int32_t num_to_come = 0;  // samples whose tokens the next step may have: all or none
    int32_t num_copied = 0;   // of them that are on their way to the host: all or none
    uint64_t copy = 0;
  };

  void PrepareGemms();
  void SampleTokens(const StepBatch& batch, Begun& begun);
  // [limit of logits rows] of a half of host_tokens_: for the steps begun by turns.
  std::span<int32_t> HostTokensOf(uint64_t step);
  // o and down: rank 0 adds its part to the residual stream.
  kernels::GemmOutput ProjectedOutput() const;
  void CheckBatch(const StepBatch& batch) const;
  void PlanRows(const StepBatch& batch);
  void PadRows(const StepBatch& batch);
  void PlanLogitsRows(std::span<const int32_t> rows);
  void WriteKv(int32_t layer, int32_t num_tokens);
  void AttendAndMix(int32_t layer, const Rows& rows);
  void AddProjected(const void* x, const kernels::Matrix& w, const kernels::Vector& bias,
                    const Rows& rows);
  void GatherVocabulary(int32_t rows);
  void Expect(bool done);
  Rows GatherLogitsRows(std::span<const int32_t> rows);
  void ComputeLogits(std::span<const int32_t> rows);
  std::vector<kernels::SampledToken> Score(std::span<const StepScore> scores);

  HfConfig config_;
  RankOptions rank_;
  Weights weights_;
  kernels::Backend& backend_;
  TransformerOptions options_;
  ModelInfo info_;
  kernels::DType activation_;
  kernels::DType head_activation_;
  kernels::KvView kv_;

  std::unique_ptr<kernels::Buffer> rope_cos_, rope_sin_;  // [context_tokens_max, D / 2]
  std::unique_ptr<kernels::Buffer> residual_;             // [T, H] f32
  std::unique_ptr<kernels::Buffer> normed_;               // [T, H] activation
  std::unique_ptr<kernels::Buffer> qkv_;                  // [T, (Hq + 2 Hkv) D] f32
  std::unique_ptr<kernels::Buffer> q_;                    // [T, Hq D] f32
  std::unique_ptr<kernels::Buffer> attended_;             // [T, Hq D] activation
  std::unique_ptr<kernels::Buffer> gate_up_;              // [T, 2 F] f32
  std::unique_ptr<kernels::Buffer> mlp_;                  // [T, F] activation
  std::unique_ptr<kernels::Buffer> last_residual_;        // [R, H] f32
  std::unique_ptr<kernels::Buffer> last_q_;               // [R, Hq D] f32
  std::unique_ptr<kernels::Buffer> logits_;               // [R, V] f32
  std::unique_ptr<kernels::Buffer> sampled_;              // [R and what fills it up] tokens
  // Where the vocabulary is divided: this rank's rows of it, and everybody's.
  std::unique_ptr<kernels::Buffer> own_logits_;  // [R, V / size] f32
  std::unique_ptr<kernels::Buffer> all_logits_;  // [size, R, V / size] f32

  // This step's plan, on the host.
  std::vector<int32_t> tokens_;                             // [T], and what fills the batch up
  std::vector<int32_t> positions_;                          // [T]
  std::vector<int32_t> slots_;                              // [T]
  std::vector<int32_t> sequence_of_;                        // [T] index into StepBatch::sequences
  std::vector<kernels::AttentionSequence> sequences_;       // all rows
  std::vector<kernels::AttentionSequence> last_sequences_;  // the logits rows, in their order

  // A slice of StepBatch::scores.
  std::vector<int32_t> score_rows_;
  std::vector<kernels::SampleArgs> score_args_;

  bool is_padded_ = false;             // a step of decodes that may be filled up
  std::vector<int32_t> logits_rows_;   // the wanted ones, and what fills them up
  std::vector<int32_t> logits_parts_;  // [R size] rows of all_logits_ in the order of logits_'
  int32_t num_logits_rows_ = 0;
  std::vector<int32_t> host_tokens_;  // [2, R]
  uint64_t num_begun_ = 0;
  std::deque<Begun> begun_;                 // two at most
  mutable std::vector<float> host_logits_;  // filled when last_logits() asks
  mutable bool host_logits_valid_ = false;
};

// What a router or a planner needs of a model without its weights; kv_dtype and fingerprint are
// left to the caller.
ModelInfo InfoOf(const HfConfig& config, std::string name, int32_t context_tokens_max);

}  // namespace baton::model
