#pragma once

#include <cmath>
#include <memory>
#include <numeric>
#include <vector>

#include "kernels/backend.h"
#include "kernels/cuda/attention/paged_decode.h"
#include "kernels/cuda/testing/device_array.h"
#include "kernels/cuda/testing/kv_pool.h"

namespace baton::kernels::cuda::testing {

struct DecodeShape {
  int32_t num_q_heads = 1, num_kv_heads = 1, head_dim = 64;
  int32_t block_tokens = 16, window = 0;
  DType kv_dtype = DType::kF32, out_dtype = DType::kF32;
};

// A batch of sequences in shuffled blocks of one pool, and what the reference makes of it. Slots
// behind a sequence's context are never written: nobody may read them.
class DecodeWorld {
 public:
  DecodeWorld(const DecodeShape& shape, const std::vector<int32_t>& contexts, uint64_t seed)
      : shape_(shape), contexts_(contexts), random_(seed), pool_(Geometry()) {
    FillTables();
    q_ = random_.Floats(contexts.size() * row());
    device_q_ = std::make_unique<DeviceArray<float>>(q_);
    device_contexts_ = std::make_unique<DeviceArray<int32_t>>(contexts_);
    device_tables_ = std::make_unique<DeviceArray<int32_t>>(tables_);
  }

  // The whole batch.
  PagedDecodeArgs Args() { return ArgsOf(0, int32_t(contexts_.size())); }
  // `count` sequences from one on. Results and workspace of earlier calls are forgotten.
  PagedDecodeArgs ArgsOf(int32_t first, int32_t count = 1) {
    const auto begin = contexts_.begin() + first;
    PagedDecodeArgs args = {.q = device_q_->data() + size_t(first) * row(),
                            .kv = pool_.device(),
                            .layer = 1,
                            .context_tokens = nullptr,
                            .block_tables = nullptr,
                            .blocks_max = blocks_max_,
                            .context_tokens_max = *std::max_element(begin, begin + count),
                            .batch = count,
                            .num_q_heads = shape_.num_q_heads,
                            .scale = scale(),
                            .window = shape_.window,
                            .out_dtype = shape_.out_dtype};
    device_contexts_ =
        std::make_unique<DeviceArray<int32_t>>(std::vector<int32_t>(begin, begin + count));
    const auto rows = tables_.begin() + int64_t{first} * blocks_max_;
    device_tables_ = std::make_unique<DeviceArray<int32_t>>(
        std::vector<int32_t>(rows, rows + int64_t{count} * blocks_max_));
    out_ =
        std::make_unique<DeviceArray<std::byte>>(size_t(count) * row() * BytesOf(shape_.out_dtype));
    args.context_tokens = device_contexts_->data();
    args.block_tables = device_tables_->data();
    args.out = out_->data();
    workspace_ =
        std::make_unique<DeviceArray<float>>(PagedDecodeWorkspaceBytes(args) / sizeof(float));
    args.workspace = workspace_->data();
    return args;
  }

  std::vector<float> Result() {
    return kernels::testing::Decode(out_->ToHost().data(), shape_.out_dtype,
                                    out_->size() / BytesOf(shape_.out_dtype));
  }

  std::vector<float> Want() {
    std::vector<AttentionSequence> sequences;
    for (size_t b = 0; b < contexts_.size(); ++b) {
      if (contexts_[b] == 0) continue;
      sequences.push_back({.query_begin = int32_t(b),
                           .query_tokens = 1,
                           .context_tokens = contexts_[b],
                           .block_table = tables_.data() + int64_t(b) * blocks_max_});
    }
    std::vector<float> out(q_.size());
    MakeReferenceBackend()->Attention(q_.data(), pool_.host(), 1, shape_.num_q_heads, sequences,
                                      scale(), shape_.window, DType::kF32, out.data());
    return out;
  }

 private:
  size_t row() const { return size_t(shape_.num_q_heads) * size_t(shape_.head_dim); }
  float scale() const { return 1 / std::sqrt(float(shape_.head_dim)); }
  int32_t BlocksOf(int32_t context) const {
    return (context + shape_.block_tokens - 1) / shape_.block_tokens;
  }

  KvView Geometry() const {
    int32_t blocks = 2;  // that belong to nobody
    for (const int32_t context : contexts_) blocks += BlocksOf(context);
    return {.dtype = shape_.kv_dtype,
            .num_layers = 2,
            .num_blocks = blocks,
            .block_tokens = shape_.block_tokens,
            .num_kv_heads = shape_.num_kv_heads,
            .head_dim = shape_.head_dim};
  }

  void FillTables() {
    blocks_max_ = BlocksOf(*std::max_element(contexts_.begin(), contexts_.end())) + 1;
    std::vector<int32_t> blocks(size_t(pool_.host().num_blocks));
    std::iota(blocks.begin(), blocks.end(), 0);
    random_.Shuffle(blocks);
    tables_.assign(contexts_.size() * size_t(blocks_max_), -1);
    size_t next = 0;
    for (size_t b = 0; b < contexts_.size(); ++b) {
      int32_t* table = tables_.data() + b * size_t(blocks_max_);
      for (int32_t i = 0; i < BlocksOf(contexts_[b]); ++i) table[i] = blocks[next++];
      for (int32_t t = 0; t < contexts_[b]; ++t) {
        pool_.FillToken(random_, 1, table[t / shape_.block_tokens], t % shape_.block_tokens);
      }
    }
  }

  DecodeShape shape_;
  std::vector<int32_t> contexts_;
  kernels::testing::Random random_;
  KvPool pool_;
  int32_t blocks_max_ = 0;
  std::vector<int32_t> tables_;  // [B][blocks_max], -1 past the end
  std::vector<float> q_;
  std::unique_ptr<DeviceArray<float>> device_q_, workspace_;
  std::unique_ptr<DeviceArray<int32_t>> device_contexts_, device_tables_;
  std::unique_ptr<DeviceArray<std::byte>> out_;
};

}  // namespace baton::kernels::cuda::testing
