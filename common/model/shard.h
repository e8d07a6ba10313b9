#pragma once

#include <cstdint>

#include "common/base/status.h"
#include "common/model/hf_config.h"
#include "kernels/dtype.h"

namespace baton::model {

// Neighbours [first, first + count) of something that is counted in a config.
struct Slice {
  int32_t first = 0;
  int32_t count = 0;
  friend bool operator==(const Slice&, const Slice&) = default;
};

// What one rank of a tensor-parallel group computes of a model. A plain value:
//
//   q k v, gate, up   column-parallel: this rank's outputs, all inputs; biases likewise
//   o, down           row-parallel: all outputs, this rank's inputs. The ranks' results are summed
//                     in the residual stream; a bias is rank 0's alone
//   head              this rank's rows of the vocabulary, where `vocab_parallel`; logits are
//   gathered embedding, norms  whole on every rank: reading a few rows of a table costs nothing,
//   summing over
//                     ranks would
//
// Query heads stay with the KV head that they read. With fewer KV heads than ranks, neighbouring
// ranks keep the same one.
struct Shard {
  int32_t rank = 0;
  int32_t size = 1;
  Slice q_heads;
  Slice kv_heads;
  Slice intermediate;
  Slice vocab;                  // rows of the head
  bool vocab_parallel = false;  // else each rank has all rows: the vocabulary cannot be divided

  // A tied embedding is whole, so a rank keeps its rows of it once more as its head.
  bool has_own_head(const HfConfig& config) const {
    return !config.tied_embeddings || vocab_parallel;
  }
};

// Whether `config` can be divided among so many ranks; an error names tensor_parallel_size, the
// field of config.json that stands in the way, and what would do.
absl::Status CheckTensorParallel(const HfConfig& config, int32_t size);

// Of a config that CheckTensorParallel() accepts.
Shard ShardOf(const HfConfig& config, int32_t rank, int32_t size);

// Weights that this rank keeps, in elements.
int64_t NumParameters(const HfConfig& config, const Shard& shard);

// What a KV block takes on all `num_ranks` ranks together: with fewer KV heads than ranks, these
// keep copies.
int64_t KvBlockBytes(const HfConfig& config, int32_t num_ranks, kernels::DType kv_dtype,
                     int32_t block_tokens);

}  // namespace baton::model
