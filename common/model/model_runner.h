#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/base/status.h"
#include "common/model/step_batch.h"
#include "kernels/kv_view.h"

namespace baton::model {

// What the engine and the router must know of a model, and nothing of its insides.
struct ModelInfo {
  std::string name;                // served name
  int32_t vocab = 0;               // rows of the logits
  int32_t context_tokens_max = 0;  // max_position_embeddings, or less if limited at start
  int32_t num_layers = 0;
  int32_t num_kv_heads = 0;
  int32_t head_dim = 0;
  kernels::DType kv_dtype = kernels::DType::kF32;
  std::vector<int32_t> eos_token_ids;
  int64_t num_parameters = 0;
  // Equal on two workers exactly when the KV of one may be read by the other with the same result:
  // a hash over weights, dtype, KV layout and backend arithmetic.
  std::string fingerprint;
};

// Runs steps of one model on one device, or on several that it is divided among (ranks of tensor
// parallelism). Single-threaded: the engine thread alone calls it.
// The engine sees only this interface, so that scheduling is tested with a model made up in a few
// lines.
class ModelRunner {
 public:
  virtual ~ModelRunner() = default;
  virtual const ModelInfo& info() const = 0;
  virtual int32_t num_ranks() const { return 1; }
  // The geometry of the KV pool for blocks of `block_tokens`; `base` is null. Each rank has a pool
  // of this geometry with its own heads' K and V (kernels::KvHeadsOf).
  virtual kernels::KvView KvGeometry(int32_t num_blocks, int32_t block_tokens) const = 0;
  // One rank's pool, in memory that its device reads; every rank's before the first step. It is
  // owned by the caller and outlives the runner's use of it.
  virtual void BindRankKv(int32_t rank, const kernels::KvView& kv) = 0;
  void BindKv(const kernels::KvView& kv) { BindRankKv(0, kv); }  // of a runner of one rank
  // Runs the batch, writes its K and V, samples. T >= 1. Batch limits were told at creation.
  virtual StepResult Execute(const StepBatch& batch) = 0;
  // Execute() in two halves, so that a device has the next step before it is done with this one.
  // Steps run in the order in which they are begun, and are finished in it; at most two are begun
  // and not finished. `batch` is borrowed for the call. Never called where this is false.
  virtual bool looks_ahead() const { return false; }
  virtual void Begin(const StepBatch& /*batch*/) {}
  virtual StepResult Finish() { return {}; }
  // As Execute, but hands out raw logits [R, V] of the last call (for tests,
  // debugging); those of StepBatch::scores are not among them. Valid until the next Execute.
  virtual std::span<const float> last_logits() const = 0;
};

}  // namespace baton::model
