#pragma once

#include <algorithm>
#include <cmath>
#include <memory>
#include <numeric>
#include <optional>
#include <vector>

#include "kernels/backend.h"
#include "kernels/cuda/attention/paged_prefill.h"
#include "kernels/cuda/testing/device_array.h"
#include "kernels/cuda/testing/kv_pool.h"

namespace baton::kernels::cuda::testing {

struct PrefillShape {
  int32_t num_q_heads = 1, num_kv_heads = 1, head_dim = 64, block_tokens = 16, window = 0;
  DType out_dtype = DType::kF32;
  float query_size = 1;
  DType kv_dtype = DType::kBF16;
};

// Positions [begin, end) of one sequence.
struct PrefillChunk {
  int32_t sequence, begin, end;
};

// Sequences in shuffled blocks of one pool, with a query for every position. What lies behind a
// sequence's context was never written.
class PrefillWorld {
 public:
  PrefillWorld(const PrefillShape& shape, const std::vector<int32_t>& contexts, uint64_t seed)
      : shape_(shape), contexts_(contexts), random_(seed), pool_(Geometry()) {
    blocks_max_ = BlocksOf(*std::max_element(contexts.begin(), contexts.end()));
    std::vector<int32_t> blocks(size_t(pool_.host().num_blocks));
    std::iota(blocks.begin(), blocks.end(), 0);
    random_.Shuffle(blocks);
    size_t next = 0;
    for (const int32_t context : contexts) {
      std::vector<int32_t> table(size_t(blocks_max_), -1);
      for (int32_t i = 0; i < BlocksOf(context); ++i) table[size_t(i)] = blocks[next++];
      for (int32_t t = 0; t < context; ++t) {
        pool_.FillToken(random_, 1, table[size_t(t / shape.block_tokens)], t % shape.block_tokens);
      }
      tables_.push_back(std::move(table));
      // As the kernel rounds them.
      queries_.push_back(kernels::testing::RoundedTo(
          random_.Floats(size_t(context) * row(), shape.query_size), DType::kBF16));
    }
  }

  size_t row() const { return size_t(shape_.num_q_heads) * size_t(shape_.head_dim); }

  int32_t context(int32_t sequence) const { return contexts_[size_t(sequence)]; }

  // These chunks as one batch. What earlier calls gave is forgotten.
  PagedPrefillArgs Args(const std::vector<PrefillChunk>& chunks) {
    std::vector<int32_t> begins, tokens, contexts, tables;
    for (const PrefillChunk& chunk : chunks) {
      begins.push_back(begins.empty() ? 0 : begins.back() + tokens.back());
      tokens.push_back(chunk.end - chunk.begin);
      contexts.push_back(chunk.end);
      const auto& table = tables_[size_t(chunk.sequence)];
      tables.insert(tables.end(), table.begin(), table.end());
    }
    q_.emplace(Queries(chunks));
    begins_.emplace(begins);
    tokens_.emplace(tokens);
    chunk_contexts_.emplace(contexts);
    device_tables_.emplace(tables);
    out_.emplace(q_->size() * BytesOf(shape_.out_dtype));
    return {.q = q_->data(),
            .kv = pool_.device(),
            .layer = 1,
            .query_begin = begins_->data(),
            .query_tokens = tokens_->data(),
            .context_tokens = chunk_contexts_->data(),
            .block_tables = device_tables_->data(),
            .blocks_max = blocks_max_,
            .query_tokens_max = *std::max_element(tokens.begin(), tokens.end()),
            .batch = int32_t(chunks.size()),
            .num_q_heads = shape_.num_q_heads,
            .scale = scale(),
            .window = shape_.window,
            .out_dtype = shape_.out_dtype,
            .out = out_->data()};
  }

  std::vector<float> Result() {
    return kernels::testing::Decode(out_->ToHost().data(), shape_.out_dtype, q_->size());
  }

  std::vector<float> Want(const std::vector<PrefillChunk>& chunks) {
    const std::vector<float> q = Queries(chunks);
    std::vector<AttentionSequence> sequences;
    int32_t begin = 0;
    for (const PrefillChunk& chunk : chunks) {
      sequences.push_back({.query_begin = begin,
                           .query_tokens = chunk.end - chunk.begin,
                           .context_tokens = chunk.end,
                           .block_table = tables_[size_t(chunk.sequence)].data()});
      begin += chunk.end - chunk.begin;
    }
    std::vector<float> out(q.size());
    MakeReferenceBackend()->Attention(q.data(), pool_.host(), 1, shape_.num_q_heads, sequences,
                                      scale(), shape_.window, DType::kF32, out.data());
    return out;
  }

 private:
  float scale() const { return 1 / std::sqrt(float(shape_.head_dim)); }
  int32_t BlocksOf(int32_t context) const {
    return (context + shape_.block_tokens - 1) / shape_.block_tokens;
  }
  KvView Geometry() const {
    int32_t blocks = 2;
    for (const int32_t context : contexts_) blocks += BlocksOf(context);
    return {.dtype = shape_.kv_dtype,
            .num_layers = 2,
            .num_blocks = blocks,
            .block_tokens = shape_.block_tokens,
            .num_kv_heads = shape_.num_kv_heads,
            .head_dim = shape_.head_dim};
  }
  std::vector<float> Queries(const std::vector<PrefillChunk>& chunks) const {
    std::vector<float> q;
    for (const PrefillChunk& chunk : chunks) {
      const auto begin = queries_[size_t(chunk.sequence)].begin();
      q.insert(q.end(), begin + int64_t(size_t(chunk.begin) * row()),
               begin + int64_t(size_t(chunk.end) * row()));
    }
    return q;
  }

  PrefillShape shape_;
  std::vector<int32_t> contexts_;
  kernels::testing::Random random_;
  KvPool pool_;
  int32_t blocks_max_ = 0;
  std::vector<std::vector<int32_t>> tables_;
  std::vector<std::vector<float>> queries_;
  std::optional<DeviceArray<float>> q_;  // and what else the last batch is made of
  std::optional<DeviceArray<int32_t>> begins_, tokens_, chunk_contexts_, device_tables_;
  std::optional<DeviceArray<std::byte>> out_;
};

}  // namespace baton::kernels::cuda::testing
