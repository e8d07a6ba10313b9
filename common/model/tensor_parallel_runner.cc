#include "common/model/tensor_parallel_runner.h"

#include <utility>

#include "common/base/check.h"

namespace baton::model {

TensorParallelRunner::TensorParallelRunner(std::vector<std::unique_ptr<Transformer>> ranks)
    : ranks_(std::move(ranks)),
      layer_written_(static_cast<std::ptrdiff_t>(ranks_.size())),
      threads_(num_ranks()) {}

void TensorParallelRunner::BindRankKv(int32_t rank, const kernels::KvView& kv) {
  CHECK(rank >= 0 && rank < num_ranks(), "the KV pool of rank {} of {}", rank, num_ranks());
  ranks_[rank]->BindRankKv(rank, kv);
}

StepResult TensorParallelRunner::Execute(const StepBatch& batch) {
  Begin(batch);
  return Finish();
}

void TensorParallelRunner::Begin(const StepBatch& batch) {
  threads_.Run([&](int32_t rank) {
    std::function<void(int32_t)> on_layer;
    if (batch.on_layer) {
      on_layer = [&, rank](int32_t layer) {
        layer_written_.arrive_and_wait();
        if (rank == 0) batch.on_layer(layer);
        layer_written_.arrive_and_wait();
      };
    }
    ranks_[rank]->BeginStep(batch, on_layer);
  });
}

StepResult TensorParallelRunner::Finish() {
  StepResult result;
  threads_.Run([&](int32_t rank) {
    StepResult own = ranks_[rank]->Finish();
    if (rank == 0) result = std::move(own);
  });
  return result;
}

}  // namespace baton::model
