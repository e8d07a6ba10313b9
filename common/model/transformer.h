#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "common/model/hf_config.h"
#include "common/model/model_runner.h"
#include "common/model/weights.h"
#include "kernels/backend.h"

namespace baton::model {

struct TransformerOptions {
  std::string name;         // served name, for ModelInfo
  std::string fingerprint;  // for ModelInfo
  kernels::DType kv_dtype = kernels::DType::kF32;
  int32_t step_tokens_max = 512;   // T of the largest batch that Execute() will see
  int32_t logits_rows_max = 256;   // R of the largest batch, and rows of a slice of scores
  int32_t context_tokens_max = 0;  // 0, or fewer than the model's own
};

// What a transformer allocates besides weights and KV: scratch for a step, and the rope tables.
size_t ScratchBytes(const HfConfig& config, const TransformerOptions& options,
                    kernels::DType activation);

// A decoder-only transformer (Llama, Mistral, Qwen2, Qwen3) written once against Backend:
//
//   embed -> layers { norm, qkv, rope and write K V, attention, o, norm, gate and up, silu, down }
//         -> norm -> head -> sample
//
// The residual stream is f32. In the last layer only the rows whose logits are wanted go on after
// their K and V are written; batch invariance makes that invisible in the bits. All scratch memory
// is allocated at construction. One owner thread; the backend outlives it.
class Transformer : public ModelRunner {
 public:
  Transformer(HfConfig config, Weights weights, kernels::Backend& backend,
              const TransformerOptions& options);

  const ModelInfo& info() const override { return info_; }
  kernels::KvView KvGeometry(int32_t num_blocks, int32_t block_tokens) const override;
  void BindKv(const kernels::KvView& kv) override;
  StepResult Execute(const StepBatch& batch) override;
  std::span<const float> last_logits() const override;

 private:
  // Rows of the residual stream on their way through a layer, and the sequences they belong to.
  struct Rows {
    float* residual = nullptr;  // [count, H]
    float* q = nullptr;         // [count, Hq D]
    int32_t count = 0;
    std::span<const kernels::AttentionSequence> sequences;
  };

  void CheckBatch(const StepBatch& batch) const;
  void PlanRows(const StepBatch& batch);
  void PlanLogitsRows(std::span<const int32_t> rows);
  void WriteKv(int32_t layer, int32_t num_tokens);
  void AttendAndMix(int32_t layer, const Rows& rows);
  Rows GatherLogitsRows(std::span<const int32_t> rows);
  void ComputeLogits(std::span<const int32_t> rows);
  std::vector<kernels::SampledToken> Score(std::span<const StepScore> scores);

  HfConfig config_;
  Weights weights_;
  kernels::Backend& backend_;
  TransformerOptions options_;
  ModelInfo info_;
  kernels::DType activation_;
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

  // This step's plan, on the host.
  std::vector<int32_t> positions_;                          // [T]
  std::vector<int32_t> slots_;                              // [T]
  std::vector<int32_t> sequence_of_;                        // [T] index into StepBatch::sequences
  std::vector<kernels::AttentionSequence> sequences_;       // all rows
  std::vector<kernels::AttentionSequence> last_sequences_;  // the logits rows, in their order

  // A slice of StepBatch::scores.
  std::vector<int32_t> score_rows_;
  std::vector<kernels::SampleArgs> score_args_;

  int32_t num_logits_rows_ = 0;
  mutable std::vector<float> host_logits_;  // filled when last_logits() asks
  mutable bool host_logits_valid_ = false;
};

// What a router or a planner needs of a model without its weights; kv_dtype and fingerprint are
// left to the caller.
ModelInfo InfoOf(const HfConfig& config, std::string name, int32_t context_tokens_max);

}  // namespace baton::model
