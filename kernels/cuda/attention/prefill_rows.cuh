#pragma once

#include "kernels/cuda/attention/paged_prefill.h"
#include "kernels/cuda/primitives/bf16.cuh"
#include "kernels/cuda/primitives/math.cuh"
#include "kernels/cuda/primitives/memory.cuh"

namespace baton::kernels::cuda {

// What the prefill kernels are given besides the pool. PagedPrefillArgs says what the arrays are.
struct PrefillKernelArgs {
  const float* q;
  const int32_t* query_begin;
  const int32_t* query_tokens;
  const int32_t* context_tokens;
  const int32_t* block_tables;
  uint32_t blocks_max;
  uint32_t num_q_heads;
  uint32_t head_dim;
  uint32_t group;  // query heads per KV head
  float scale;     // times log2(e)
  int32_t window;
  bool out_is_bf16;
  void* out;
};

inline PrefillKernelArgs KernelArgsOf(const PagedPrefillArgs& args) {
  return {.q = args.q,
          .query_begin = args.query_begin,
          .query_tokens = args.query_tokens,
          .context_tokens = args.context_tokens,
          .block_tables = args.block_tables,
          .blocks_max = uint32_t(args.blocks_max),
          .num_q_heads = uint32_t(args.num_q_heads),
          .head_dim = uint32_t(args.kv.head_dim),
          .group = uint32_t(args.num_q_heads / args.kv.num_kv_heads),
          .scale = args.scale * kLog2E,
          .window = args.window,
          .out_is_bf16 = args.out_dtype == DType::kBF16,
          .out = args.out};
}

// Two elements of the result, the first an even one.
BATON_DEVICE void StorePair(const PrefillKernelArgs& args, size_t at, float low, float high) {
  if (args.out_is_bf16) {
    const Global<uint32_t> out(static_cast<uint32_t*>(args.out));
    out[at / 2] = PackBf16(low, high);
  } else {
    const Global<float> out(static_cast<float*>(args.out));
    out[at] = low;
    out[at + 1] = high;
  }
}

// The query rows of one sequence and one KV head, of which a block of threads takes kRows: row r is
// query head r % group of query token r / group, so that the heads that share K and V share their
// loads. Says where a row lies in memory and which positions it sees; travels in registers.
template <uint32_t kRows>
class PrefillRows {
 public:
  // The longest rows come first, so that they do not end last.
  BATON_DEVICE explicit PrefillRows(const PrefillKernelArgs& args) : args_(args) {
    const Global<const int32_t> begin(args.query_begin), tokens(args.query_tokens),
        context(args.context_tokens);
    query_begin_ = uint32_t(int32_t(begin[BlockZ()]));
    const int32_t query_tokens = tokens[BlockZ()];
    end_row_ = uint32_t(query_tokens) * args.group;
    first_row_ = (GridX() - 1 - BlockX()) * kRows;
    first_position_ = int32_t(context[BlockZ()]) - query_tokens;
  }

  // Sequences with fewer rows than the longest leave blocks of threads without any.
  BATON_DEVICE bool IsEmpty() const { return first_row_ >= end_row_; }
  // Rows are counted from the block's first one.
  BATON_DEVICE bool IsRow(uint32_t row) const { return first_row_ + row < end_row_; }

  // Where q and the result of a row begin, in elements.
  BATON_DEVICE size_t At(uint32_t row) const {
    const uint32_t of_sequence = first_row_ + row;
    const size_t token = size_t{query_begin_} + of_sequence / args_.group;
    const uint32_t head = BlockY() * args_.group + of_sequence % args_.group;
    return (token * args_.num_q_heads + head) * args_.head_dim;
  }

  // A row's position, and the first one that it sees. Rows past the end are as the last one.
  BATON_DEVICE int32_t Position(uint32_t row) const {
    const uint32_t of_sequence = IsRow(row) ? first_row_ + row : end_row_ - 1;
    return first_position_ + int32_t(of_sequence / args_.group);
  }
  BATON_DEVICE int32_t FirstSeen(int32_t position) const {
    return args_.window > 0 && position >= args_.window ? position - args_.window + 1 : 0;
  }

 private:
  const PrefillKernelArgs& args_;
  uint32_t query_begin_;          // of the sequence, in q
  uint32_t first_row_, end_row_;  // the block's first one; the sequence's end
  int32_t first_position_;        // of the sequence's first query token
};

}  // namespace baton::kernels::cuda
