#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "common/base/status.h"
#include "common/model/hf_config.h"
#include "common/model/shard.h"
#include "common/model/weight_source.h"
#include "kernels/backend.h"

namespace baton::model {

using MatrixPtr = std::unique_ptr<kernels::Matrix>;

// Weights of one layer, packed by the backend. Vectors that a model lacks are null. Where a model
// is divided, Hq, Hkv and F are the rank's own.
struct LayerWeights {
  kernels::Vector input_norm;    // [H]
  MatrixPtr qkv;                 // [(Hq + 2 Hkv) D, H]: q, then k, then v
  kernels::Vector qkv_bias;      // [(Hq + 2 Hkv) D]
  kernels::Vector q_norm;        // [D]
  kernels::Vector k_norm;        // [D]
  MatrixPtr o;                   // [H, Hq D]
  kernels::Vector o_bias;        // [H]
  kernels::Vector mlp_norm;      // [H]
  MatrixPtr gate_up;             // [2 F, H]: gate, then up
  kernels::Vector gate_up_bias;  // [2 F]
  MatrixPtr down;                // [H, F]
  kernels::Vector down_bias;     // [H]
};

// What weights are kept in. Norms and biases are f32 always.
struct WeightTypes {
  kernels::DType embedding = kernels::DType::kF32;
  kernels::DType matrices = kernels::DType::kF32;  // of the layers
  kernels::DType head = kernels::DType::kF32;

  // A tied embedding of another type cannot serve as the head.
  bool has_own_head(const HfConfig& config, const Shard& shard) const {
    return embedding != head || shard.has_own_head(config);
  }
};

// Of weights that are rounded to `quantize`, if any, as they are loaded. The head, which rounding
// shows in most, is never less than int8.
inline WeightTypes WeightTypesOf(kernels::DType dtype, std::optional<kernels::DType> quantize) {
  return {.embedding = dtype,
          .matrices = quantize.value_or(dtype),
          .head = quantize ? kernels::DType::kInt8 : dtype};
}

// What `shard`'s weights take, about.
int64_t WeightBytes(const HfConfig& config, const Shard& shard, const WeightTypes& types);

// All weights of a model on one device. Movable; the backend outlives it.
struct Weights {
  WeightTypes types;
  MatrixPtr embedding;  // [V, H]
  MatrixPtr lm_head;    // [V, H], or this rank's rows of it; null when tied: the embedding serves
  kernels::Vector final_norm;  // [H]
  std::vector<LayerWeights> layers;

  const kernels::Matrix& head() const { return lm_head != nullptr ? *lm_head : *embedding; }
  size_t bytes() const;  // of the matrices
};

// Called on the loading thread after each tensor, with bytes of the source.
using LoadProgress = std::function<void(int64_t done_bytes, int64_t total_bytes)>;

// Packs `shard`'s share of every tensor that `config` calls for, in types that the backend keeps.
// `progress` may be null.
absl::StatusOr<Weights> LoadWeights(const HfConfig& config, const Shard& shard,
                                    WeightSource& source, const WeightTypes& types,
                                    kernels::Backend& backend, const LoadProgress& progress);

}  // namespace baton::model
