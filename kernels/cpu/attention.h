#pragma once

#include <span>
#include <vector>

#include "kernels/backend.h"
#include "kernels/cpu/isa_ops.h"
#include "kernels/cpu/scratch.h"
#include "kernels/cpu/thread_pool.h"

namespace baton::kernels {

struct AttentionArgs {
  const float* q = nullptr;  // [T, Hq, D]
  KvView kv;
  int32_t layer = 0;
  int32_t num_q_heads = 0;
  std::span<const AttentionSequence> sequences;
  float scale = 1;
  int32_t window = 0;
  DType out_dtype = DType::kF32;
  void* out = nullptr;  // [T, Hq, D]
};

// Causal attention over the paged cache with online softmax. What fixes a row's arithmetic is fixed
// at absolute positions: tiles of 64 tokens, taken in rising order into a running maximum, sum and
// result; splits of 1024 tokens, each with its own, merged in rising order. A row meets the same
// tiles and splits whichever rows share its call, and a split may run on a thread of its own.
class AttentionRunner {
 public:
  AttentionRunner(const IsaOps& ops, ThreadPool& pool);
  void Run(const AttentionArgs& args);

 private:
  class BlockTask;

  // Rows that walk the cache together: the query heads of one KV head, for some tokens of one
  // sequence. Row r is query head r % group of token first_token + r / group.
  struct Block {
    const AttentionSequence* sequence;
    int32_t kv_head;
    int32_t first_token;  // of the sequence's query_tokens
    int32_t num_tokens;
    int32_t first_split, end_split;
    float* partial;  // where the state of a single split goes, or null: merge and write the result
  };
  // Consecutive blocks, one per split of the same rows, to be merged at the end.
  struct Merge {
    size_t first_block;
    int32_t num_splits;
  };
  // Sizes that follow from the call. A *state* is what 12 rows carry along the cache:
  // maxima [12] padded to 16, sums [12][16], results [panel][12][32].
  struct Shape {
    bool pairs;      // bf16 pairs are multiplied; else f32
    bool quantized;  // K and V are widened first; their scales meet scores and weights
    int32_t head_dim;
    int32_t group;         // query heads per KV head
    int32_t block_tokens;  // tokens per Block at most
    int32_t k_dwords;      // of one head of q or K
    int32_t panels;        // of 32 lanes of head_dim
    size_t state_floats;   // per 12 rows
    size_t block_states;   // states per block at most
    size_t key_dwords;     // of a packed K panel of 32 tokens
    size_t value_dwords;   // of all packed V panels
  };

  static Shape ShapeOf(const AttentionArgs& args, const IsaOps& ops);
  void PlanBlocks(const AttentionArgs& args, const Shape& shape);

  const IsaOps& ops_;
  ThreadPool& pool_;
  std::vector<Block> blocks_;
  std::vector<Merge> merges_;
  Scratch partials_;
  std::vector<Scratch> per_thread_;
};

}  // namespace baton::kernels
