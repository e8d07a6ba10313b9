#pragma once

#include <barrier>
#include <memory>
#include <vector>

#include "common/model/model_runner.h"
#include "common/model/rank_threads.h"
#include "common/model/transformer.h"

namespace baton::model {

// One model that is divided among several devices, as one runner: every rank runs the batch on its
// own thread, rank 0 on the caller's. While `on_layer` is called, no rank computes: the callee may
// use every rank's backend, as it may between two steps.
class TensorParallelRunner : public ModelRunner {
 public:
  // The ranks of one group, in order, at least two.
  explicit TensorParallelRunner(std::vector<std::unique_ptr<Transformer>> ranks);

  const ModelInfo& info() const override { return ranks_[0]->info(); }
  int32_t num_ranks() const override { return static_cast<int32_t>(ranks_.size()); }
  kernels::KvView KvGeometry(int32_t num_blocks, int32_t block_tokens) const override {
    return ranks_[0]->KvGeometry(num_blocks, block_tokens);
  }
  void BindRankKv(int32_t rank, const kernels::KvView& kv) override;
  StepResult Execute(const StepBatch& batch) override;
  bool looks_ahead() const override { return ranks_[0]->looks_ahead(); }
  void Begin(const StepBatch& batch) override;
  StepResult Finish() override;
  std::span<const float> last_logits() const override { return ranks_[0]->last_logits(); }

 private:
  const std::vector<std::unique_ptr<Transformer>> ranks_;
  std::barrier<> layer_written_;
  RankThreads threads_;  // last: ends before what it runs
};

}  // namespace baton::model
