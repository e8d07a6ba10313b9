#include "kernels/cpu/attention.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "kernels/check.h"
#include "kernels/kv_row.h"

namespace baton::kernels {
namespace {

constexpr int32_t kSplitTokens = 1024;
constexpr int32_t kGroupTokens = 16;  // tokens packed at once; never cross a KV block
// Enough rows to make packing a tile of K and V cheap beside their arithmetic.
constexpr int32_t kBlockRows = 96;
constexpr size_t kStateHeader = 16 + size_t(kTileRowsMax) * 16;  // maxima, sums

int32_t CeilDiv(int32_t a, int32_t b) { return (a + b - 1) / b; }

// The first position that the row at `position` sees.
int32_t FirstVisible(int32_t position, int32_t window) {
  return window > 0 && position >= window ? position - window + 1 : 0;
}

float* Largest(float* state) { return state; }
float* Sums(float* state) { return state + 16; }
float* Results(float* state, int32_t panel) {
  return state + kStateHeader + size_t(panel) * kTileRowsMax * kPanelLanes;
}

void ResetStates(float* states, size_t count, size_t state_floats) {
  std::memset(states, 0, count * state_floats * sizeof(float));
  for (size_t i = 0; i < count; ++i) {
    std::fill_n(Largest(states + i * state_floats), 16, -std::numeric_limits<float>::infinity());
  }
}

}  // namespace

// One Block on one thread, in that thread's scratch.
class AttentionRunner::BlockTask {
 public:
  BlockTask(const AttentionArgs& args, const Shape& shape, const IsaOps& ops, const Block& block);

  static size_t ScratchBytes(const Shape& shape);
  void Run(std::byte* scratch);
  // Merges the states of `num_splits` splits, which follow each other, and writes the result.
  void MergeAndWrite(float* states, int32_t num_splits);

 private:
  int32_t position(int32_t row) const { return first_position_ + row / shape_.group; }
  int32_t RowBegin(int32_t tile) const { return tile * num_rows_ / num_states_; }
  int32_t RowsOf(int32_t tile) const { return RowBegin(tile + 1) - RowBegin(tile); }
  size_t states_floats() const { return shape_.state_floats * size_t(num_states_); }

  void PackQueries();
  void RunSplit(int32_t split, float* states);
  void PackKvTile(int32_t tile_begin);
  void PackKvGroup(int32_t begin, int32_t tile_begin);
  void PackRows(const std::byte* keys, const std::byte* values, DType dtype, int tokens,
                int32_t at);
  void PackQuantized(const std::byte* keys, const std::byte* values, int tokens, int32_t at);
  void RunTile(TileFn fn, TileArgs tile, int first_group, int end_group, int32_t ahead,
               size_t offset) const;
  const std::byte* Keys(int32_t token) const;
  void RunRows(int32_t tile, int32_t tile_begin, float* state);
  bool FindVisible(int32_t tile, int32_t tile_begin, int32_t* begin, int32_t* end) const;
  void MergeStates(float* into, const float* from);
  void Write(float* states);

  const AttentionArgs& args_;
  const Shape& shape_;
  const IsaOps& ops_;
  const Block& block_;
  const int32_t num_rows_;
  const int32_t num_states_;
  const int32_t first_position_;
  const int32_t first_visible_;  // of all rows
  const int32_t end_visible_;

  uint32_t* queries_ = nullptr;   // per 12 rows: [k][rows]
  uint32_t* row_ = nullptr;       // one row of q
  uint32_t* keys_ = nullptr;      // 2 panels [k][32]
  uint32_t* values_ = nullptr;    // panels [64 tokens or 32 pairs][32]
  float* scores_ = nullptr;       // 2 x [12][32]
  uint32_t* weights_ = nullptr;   // [12][64]
  std::byte* widened_ = nullptr;  // one group of quantized K or V, as bf16 or f32
  float* key_scales_ = nullptr;   // [64]
  float* value_scales_ = nullptr;
  float* running_ = nullptr;  // states
  float* split_ = nullptr;    // states
};

AttentionRunner::AttentionRunner(const IsaOps& ops, ThreadPool& pool)
    : ops_(ops), pool_(pool), per_thread_(size_t(pool.num_threads())) {}

AttentionRunner::Shape AttentionRunner::ShapeOf(const AttentionArgs& args, const IsaOps& ops) {
  const KvView& kv = args.kv;
  KERNELS_CHECK(kv.num_kv_heads > 0 && args.num_q_heads % kv.num_kv_heads == 0);
  KERNELS_CHECK(kv.block_tokens % kGroupTokens == 0 && kv.head_dim % 2 == 0);
  KERNELS_CHECK(args.scale > 0);
  KERNELS_CHECK(kv.dtype != DType::kF16);
  Shape shape;
  shape.pairs = kv.dtype != DType::kF32 && ops.bf16_dot;
  shape.quantized = IsQuantized(kv.dtype);
  shape.head_dim = kv.head_dim;
  shape.group = args.num_q_heads / kv.num_kv_heads;
  shape.block_tokens = std::max(1, kBlockRows / shape.group);
  shape.k_dwords = shape.pairs ? kv.head_dim / 2 : kv.head_dim;
  shape.panels = CeilDiv(kv.head_dim, kPanelLanes);
  shape.state_floats = kStateHeader + size_t(shape.panels) * kTileRowsMax * kPanelLanes;
  shape.block_states = size_t(CeilDiv(shape.block_tokens * shape.group, kTileRowsMax));
  shape.key_dwords = size_t(CeilDiv(shape.k_dwords, 16)) * 16 * kPanelLanes;
  shape.value_dwords =
      size_t(shape.panels) * size_t(kKvTileTokens / (shape.pairs ? 2 : 1)) * kPanelLanes;
  return shape;
}

void AttentionRunner::PlanBlocks(const AttentionArgs& args, const Shape& shape) {
  blocks_.clear();
  merges_.clear();
  for (const AttentionSequence& seq : args.sequences) {
    KERNELS_CHECK(seq.query_tokens >= 0 && seq.query_tokens <= seq.context_tokens);
    const bool spread = seq.query_tokens <= shape.block_tokens;
    for (int32_t head = 0; head < args.kv.num_kv_heads; ++head) {
      // The longest contexts first, so that the loop ends with small tasks.
      for (int32_t n = CeilDiv(seq.query_tokens, shape.block_tokens) - 1; n >= 0; --n) {
        const int32_t first = n * shape.block_tokens;
        const int32_t tokens = std::min(shape.block_tokens, seq.query_tokens - first);
        const int32_t position = seq.context_tokens - seq.query_tokens + first;
        const int32_t first_split = FirstVisible(position, args.window) / kSplitTokens;
        const int32_t end_split = (position + tokens - 1) / kSplitTokens + 1;
        Block block{&seq, head, first, tokens, first_split, end_split, nullptr};
        if (!spread || end_split - first_split == 1) {
          blocks_.push_back(block);
          continue;
        }
        merges_.push_back({blocks_.size(), end_split - first_split});
        for (int32_t split = first_split; split < end_split; ++split) {
          block.first_split = split;
          block.end_split = split + 1;
          blocks_.push_back(block);
        }
      }
    }
  }
}

void AttentionRunner::Run(const AttentionArgs& args) {
  const Shape shape = ShapeOf(args, ops_);
  PlanBlocks(args, shape);
  const auto states = [&](const Block& block) {
    return size_t(CeilDiv(block.num_tokens * shape.group, kTileRowsMax)) * shape.state_floats;
  };
  size_t floats = 0;
  for (const Merge& merge : merges_) {
    floats += states(blocks_[merge.first_block]) * size_t(merge.num_splits);
  }
  auto* partial = reinterpret_cast<float*>(partials_.Reserve(floats * sizeof(float)));
  for (const Merge& merge : merges_) {
    for (int32_t i = 0; i < merge.num_splits; ++i) {
      Block& block = blocks_[merge.first_block + size_t(i)];
      block.partial = partial;
      partial += states(block);
    }
  }
  pool_.ParallelFor(int64_t(blocks_.size()), [&](int64_t i, int thread) {
    std::byte* scratch = per_thread_[size_t(thread)].Reserve(BlockTask::ScratchBytes(shape));
    BlockTask(args, shape, ops_, blocks_[size_t(i)]).Run(scratch);
  });
  pool_.ParallelFor(int64_t(merges_.size()), [&](int64_t i, int) {
    const Merge& merge = merges_[size_t(i)];
    const Block& block = blocks_[merge.first_block];
    BlockTask(args, shape, ops_, block).MergeAndWrite(block.partial, merge.num_splits);
  });
}

AttentionRunner::BlockTask::BlockTask(const AttentionArgs& args, const Shape& shape,
                                      const IsaOps& ops, const Block& block)
    : args_(args),
      shape_(shape),
      ops_(ops),
      block_(block),
      num_rows_(block.num_tokens * shape.group),
      num_states_(CeilDiv(num_rows_, kTileRowsMax)),
      first_position_(block.sequence->context_tokens - block.sequence->query_tokens +
                      block.first_token),
      first_visible_(FirstVisible(first_position_, args.window)),
      end_visible_(first_position_ + block.num_tokens) {}

size_t AttentionRunner::BlockTask::ScratchBytes(const Shape& shape) {
  const size_t queries = shape.block_states * kTileRowsMax * size_t(shape.k_dwords);
  const size_t row = size_t(shape.k_dwords) + 16;
  const size_t tile = 2 * shape.key_dwords + shape.value_dwords;
  const size_t scores = 2 * size_t(kTileRowsMax) * kPanelLanes + size_t(kTileRowsMax) * 64;
  const size_t states = 2 * shape.block_states * shape.state_floats;
  const size_t widened = size_t(kGroupTokens) * size_t(shape.head_dim) + 2 * kKvTileTokens;
  return 4 * (queries + row + tile + scores + states + widened) + 11 * 64;
}

void AttentionRunner::BlockTask::Run(std::byte* scratch) {
  const auto take = [&](size_t dwords) {
    auto* taken = reinterpret_cast<uint32_t*>(scratch);
    scratch += (dwords * 4 + 63) / 64 * 64;
    return taken;
  };
  keys_ = take(2 * shape_.key_dwords);
  values_ = take(shape_.value_dwords);
  scores_ = reinterpret_cast<float*>(take(2 * size_t(kTileRowsMax) * kPanelLanes));
  weights_ = take(size_t(kTileRowsMax) * 64);
  if (shape_.quantized) {
    widened_ = reinterpret_cast<std::byte*>(take(size_t(kGroupTokens) * size_t(shape_.head_dim)));
    key_scales_ = reinterpret_cast<float*>(take(kKvTileTokens));
    value_scales_ = reinterpret_cast<float*>(take(kKvTileTokens));
  }
  queries_ = take(shape_.block_states * kTileRowsMax * size_t(shape_.k_dwords));
  row_ = take(size_t(shape_.k_dwords) + 16);
  running_ = reinterpret_cast<float*>(take(shape_.block_states * shape_.state_floats));
  split_ = reinterpret_cast<float*>(take(shape_.block_states * shape_.state_floats));

  PackQueries();
  if (block_.partial != nullptr) return RunSplit(block_.first_split, block_.partial);
  RunSplit(block_.first_split, running_);
  for (int32_t split = block_.first_split + 1; split < block_.end_split; ++split) {
    RunSplit(split, split_);
    MergeStates(running_, split_);
  }
  Write(running_);
}

void AttentionRunner::BlockTask::PackQueries() {
  const int32_t dim = args_.kv.head_dim;
  uint32_t* out = queries_;
  for (int32_t tile = 0; tile < num_states_; ++tile) {
    const int32_t rows = RowsOf(tile);
    for (int32_t r = 0; r < rows; ++r) {
      const int32_t row = RowBegin(tile) + r;
      const int64_t token = block_.sequence->query_begin + block_.first_token + row / shape_.group;
      const int32_t head = block_.kv_head * shape_.group + row % shape_.group;
      const float* q = args_.q + (token * args_.num_q_heads + head) * dim;
      ops_.store_row(q, dim, shape_.pairs ? DType::kBF16 : DType::kF32, row_);
      for (int32_t k = 0; k < shape_.k_dwords; ++k) out[k * rows + r] = row_[k];
    }
    out += rows * shape_.k_dwords;
  }
}

void AttentionRunner::BlockTask::RunSplit(int32_t split, float* states) {
  ResetStates(states, size_t(num_states_), shape_.state_floats);
  const int32_t begin = std::max(split * kSplitTokens, first_visible_);
  const int32_t end = std::min((split + 1) * kSplitTokens, end_visible_);
  for (int32_t tile_begin = begin / kKvTileTokens * kKvTileTokens; tile_begin < end;
       tile_begin += kKvTileTokens) {
    PackKvTile(tile_begin);
    for (int32_t tile = 0; tile < num_states_; ++tile) {
      RunRows(tile, tile_begin, states + size_t(tile) * shape_.state_floats);
    }
  }
}

void AttentionRunner::BlockTask::PackKvTile(int32_t tile_begin) {
  for (int32_t begin = tile_begin; begin < tile_begin + kKvTileTokens; begin += kGroupTokens) {
    PackKvGroup(begin, tile_begin);
  }
}

// K of the token's slot; V lies num_kv_heads heads behind it.
const std::byte* AttentionRunner::BlockTask::Keys(int32_t token) const {
  const KvView& kv = args_.kv;
  const int32_t block = block_.sequence->block_table[token / kv.block_tokens];
  return kv.piece(args_.layer, block) + size_t(block_.kv_head) * kv.head_bytes() +
         size_t(token % kv.block_tokens) * size_t(kv.head_dim) * BytesOf(kv.dtype);
}

// Tokens that no row sees are not read: their slots may hold anything.
void AttentionRunner::BlockTask::PackKvGroup(int32_t begin, int32_t tile_begin) {
  const KvView& kv = args_.kv;
  const bool seen = begin + kGroupTokens > first_visible_ && begin < end_visible_;
  const int tokens = seen ? std::min(kGroupTokens, end_visible_ - begin) : 0;
  const std::byte* keys = seen ? Keys(begin) : kv.base;  // of no tokens: any address will do
  const size_t to_values = size_t(kv.num_kv_heads) * kv.head_bytes();
  const std::byte* values = keys + to_values;
  const int32_t at = begin - tile_begin;
  if (!shape_.quantized) return PackRows(keys, values, kv.dtype, tokens, at);
  PackQuantized(keys, values, tokens, at);
  std::fill_n(key_scales_ + at, kGroupTokens, 0.0f);
  std::fill_n(value_scales_ + at, kGroupTokens, 0.0f);
  if (!seen) return;
  const int32_t block = block_.sequence->block_table[begin / kv.block_tokens];
  const auto scales = [&](int part) {
    return RowOf(kv, args_.layer, block, part, block_.kv_head, begin % kv.block_tokens).scale;
  };
  std::copy_n(scales(0), tokens, key_scales_ + at);
  std::copy_n(scales(1), tokens, value_scales_ + at);
}

// A group of which `keys` and `values` are the first rows becomes tokens `at` … of the tile. Either
// may be null: that part is left as it is.
void AttentionRunner::BlockTask::PackRows(const std::byte* keys, const std::byte* values,
                                          DType dtype, int tokens, int32_t at) {
  const int32_t dim = shape_.head_dim, rows = shape_.pairs ? at / 2 : at;
  if (keys != nullptr) {
    ops_.pack_keys(keys, dtype, shape_.pairs, tokens, dim,
                   keys_ + at / kPanelLanes * int32_t(shape_.key_dwords) + at % kPanelLanes);
  }
  if (values != nullptr) {
    ops_.pack_values(values, dtype, shape_.pairs, tokens, dim, values_ + rows * kPanelLanes);
  }
}

// Every element of fp8 and int8 is one of bf16: nothing is lost before the scales come in.
void AttentionRunner::BlockTask::PackQuantized(const std::byte* keys, const std::byte* values,
                                               int tokens, int32_t at) {
  const DType from = args_.kv.dtype, to = shape_.pairs ? DType::kBF16 : DType::kF32;
  const int64_t elements = int64_t{tokens} * shape_.head_dim;
  ops_.widen_quantized(keys, from, elements, to, widened_);
  PackRows(widened_, nullptr, to, tokens, at);
  ops_.widen_quantized(values, from, elements, to, widened_);
  PackRows(nullptr, widened_, to, tokens, at);
}

// The tokens of the tile that each row sees. False: none does.
bool AttentionRunner::BlockTask::FindVisible(int32_t tile, int32_t tile_begin, int32_t* begin,
                                             int32_t* end) const {
  const int32_t rows = RowsOf(tile), last_token = tile_begin + kKvTileTokens - 1;
  const bool whole = last_token <= position(RowBegin(tile)) &&
                     FirstVisible(position(RowBegin(tile) + rows - 1), args_.window) <= tile_begin;
  if (whole) {
    std::fill_n(begin, rows, 0);
    std::fill_n(end, rows, kKvTileTokens);
    return true;
  }
  bool any = false;
  for (int32_t r = 0; r < rows; ++r) {
    const int32_t at = position(RowBegin(tile) + r);
    begin[r] = std::max(FirstVisible(at, args_.window) - tile_begin, 0);
    end[r] = std::clamp(at + 1 - tile_begin, 0, kKvTileTokens);
    any = any || begin[r] < end[r];
  }
  return any;
}

// Runs a tile of arithmetic and fetches, evenly spread over it, groups of the next tile of the
// cache at `ahead`: K, or V `offset` bytes behind it. (Fetched at once they would be dropped.)
// Cutting k into parts continues the same chains.
void AttentionRunner::BlockTask::RunTile(TileFn fn, TileArgs tile, int first_group, int end_group,
                                         int32_t ahead, size_t offset) const {
  const int64_t k = tile.k;
  tile.prefetch = tile.panel;
  if (ahead >= end_visible_ || first_group == end_group) return fn(tile);
  const size_t group_bytes =
      size_t(kGroupTokens) * size_t(args_.kv.head_dim) * BytesOf(args_.kv.dtype);
  const int64_t part = k / (end_group - first_group);
  const auto* x = static_cast<const uint32_t*>(tile.x);
  const auto* panel = static_cast<const uint32_t*>(tile.panel);
  const int64_t x_step = tile.layout == XLayout::kPacked ? tile.rows : 1;
  for (int group = first_group; group < end_group; ++group) {
    const int64_t at = (group - first_group) * part;
    tile.x = x + at * x_step;
    tile.panel = panel + at * kPanelLanes;
    tile.k = group + 1 == end_group ? k - at : part;
    const int32_t token = std::min(ahead + group * kGroupTokens, end_visible_ - 1);
    tile.prefetch = Keys(token / kGroupTokens * kGroupTokens) + offset;
    tile.prefetch_step = int64_t(group_bytes) / std::max<int64_t>(1, 2 * tile.k);
    fn(tile);
    tile.first = false;
  }
}

void AttentionRunner::BlockTask::RunRows(int32_t tile, int32_t tile_begin, float* state) {
  int32_t begin[kTileRowsMax], end[kTileRowsMax];
  float correction[kTileRowsMax];
  if (!FindVisible(tile, tile_begin, begin, end)) return;
  const int rows = RowsOf(tile);
  const int32_t ahead = tile == 0 ? tile_begin + kKvTileTokens : end_visible_;
  float* scores[2] = {scores_, scores_ + kTileRowsMax * kPanelLanes};
  for (int half = 0; half < 2; ++half) {
    RunTile(shape_.pairs ? ops_.tile_bf16_packed : ops_.tile_f32_packed,
            {.rows = rows,
             .layout = XLayout::kPacked,
             .x = queries_ + RowBegin(tile) * shape_.k_dwords,
             .panel = keys_ + size_t(half) * shape_.key_dwords,
             .k = shape_.k_dwords,
             .acc = scores[half],
             .first = true},
            2 * half, 2 * half + 2, ahead, 0);
  }
  ops_.softmax_tile({.rows = rows,
                     .scores = {scores[0], scores[1]},
                     .scale = args_.scale,
                     .key_scales = key_scales_,
                     .value_scales = value_scales_,
                     .begin = begin,
                     .end = end,
                     .largest = Largest(state),
                     .sum = Sums(state),
                     .correction = correction,
                     .bf16_weights = shape_.pairs,
                     .weights = weights_});
  const int32_t k = kKvTileTokens / (shape_.pairs ? 2 : 1);
  const size_t to_values = size_t(args_.kv.num_kv_heads) * args_.kv.head_bytes();
  for (int32_t panel = 0; panel < shape_.panels; ++panel) {
    ops_.scale_tile(Results(state, panel), rows, correction);
    RunTile(shape_.pairs ? ops_.tile_bf16_rows : ops_.tile_f32_rows,
            {.rows = rows,
             .layout = XLayout::kRows64,
             .x = weights_,
             .panel = values_ + size_t(panel) * size_t(k) * kPanelLanes,
             .k = k,
             .acc = Results(state, panel),
             .first = false},
            4 * panel / shape_.panels, 4 * (panel + 1) / shape_.panels, ahead, to_values);
  }
}

void AttentionRunner::BlockTask::MergeStates(float* into, const float* from) {
  for (int32_t tile = 0; tile < num_states_; ++tile) {
    const size_t at = size_t(tile) * shape_.state_floats;
    ops_.merge_states(into + at, from + at, RowsOf(tile), shape_.panels, args_.scale);
  }
}

void AttentionRunner::BlockTask::MergeAndWrite(float* states, int32_t num_splits) {
  for (int32_t i = 1; i < num_splits; ++i)
    MergeStates(states, states + size_t(i) * states_floats());
  Write(states);
}

void AttentionRunner::BlockTask::Write(float* states) {
  const int32_t dim = args_.kv.head_dim;
  for (int32_t tile = 0; tile < num_states_; ++tile) {
    float* state = states + size_t(tile) * shape_.state_floats;
    for (int32_t r = 0; r < RowsOf(tile); ++r) {
      const int32_t row = RowBegin(tile) + r;
      const int64_t token = block_.sequence->query_begin + block_.first_token + row / shape_.group;
      const int32_t head = block_.kv_head * shape_.group + row % shape_.group;
      auto* out = static_cast<std::byte*>(args_.out) +
                  size_t(token * args_.num_q_heads + head) * size_t(dim) * BytesOf(args_.out_dtype);
      ops_.divide_row(Results(state, 0) + r * kPanelLanes, Sums(state) + r * 16, dim,
                      args_.out_dtype, out);
    }
  }
}

}  // namespace baton::kernels
