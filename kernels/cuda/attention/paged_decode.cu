#include "kernels/cuda/attention/paged_decode.h"

#include "kernels/cuda/attention/paged_decode_shape.h"
#include "kernels/cuda/kv/kv_layer.cuh"
#include "kernels/cuda/launch/launch.cuh"
#include "kernels/cuda/primitives/async_copy.cuh"
#include "kernels/cuda/primitives/bf16.cuh"
#include "kernels/cuda/primitives/math.cuh"
#include "kernels/cuda/primitives/memory.cuh"
#include "kernels/cuda/primitives/quantized.cuh"
#include "kernels/cuda/primitives/swizzle.cuh"
#include "kernels/cuda/primitives/sync.cuh"
#include "kernels/cuda/primitives/warp.cuh"

// One block takes one split of one sequence's cache for the query heads of one KV head, so that K
// and V are read once for all of them:
//
//   device memory --cp.async, two tiles ahead--> ring --> scores --> softmax --> sums --> out
//                                 K K K K             |             V V V V
//
// All K tiles of the split come first, then all V tiles: a split has a single softmax and nothing
// is ever rescaled inside it. A sequence of one split writes its result at once; otherwise each
// split leaves (largest score, sum of weights, weighted sum of V), and a second kernel merges them
// in rising order. Scores are kept times log2(e), for exp2.
namespace baton::kernels::cuda {
namespace {

template <typename T>
struct DecodeKernelArgs {
  const float* q;
  KvLayer<const T> kv;
  const int32_t* context_tokens;
  const int32_t* block_tables;
  uint32_t blocks_max;
  uint32_t num_q_heads;
  uint32_t group;        // query heads per KV head
  uint32_t head_groups;  // blocks per KV head
  uint32_t splits_max;
  float scale;  // times log2(e)
  int32_t window;
  bool out_is_bf16;
  void* out;
  float* statistics;  // [B, Hq, splits_max, 2]: largest score, sum of weights
  float* sums;        // [B, Hq, splits_max, D]
};

// The part of a sequence's context that its token sees, and in which splits it lies.
struct Span {
  int32_t first, end;  // positions
  int32_t first_split, end_split;
};

BATON_DEVICE Span SpanOf(int32_t context_tokens, int32_t window) {
  Span span = {0, context_tokens, 0, 0};
  if (window > 0 && context_tokens > window) span.first = context_tokens - window;
  span.first_split = span.first / kDecodeSplitTokens;
  span.end_split = (span.end + kDecodeSplitTokens - 1) / kDecodeSplitTokens;
  return span;
}

BATON_DEVICE void StoreOut(void* out, bool is_bf16, size_t i, float value) {
  if (is_bf16) {
    Global<Bf16>(static_cast<Bf16*>(out))[i] = ToBf16(value);
  } else {
    Global<float>(static_cast<float*>(out))[i] = value;
  }
}

template <typename T, int kHeadDim, int kHeads>
class DecodeSplit {
 public:
  static constexpr PagedDecodeShape kShape = {kHeadDim, sizeof(T), kHeads};
  static constexpr uint32_t kThreads = PagedDecodeShape::kThreads;
  static constexpr uint32_t kTile = kShape.tile_tokens();
  static constexpr uint32_t kChunks = kShape.chunks();
  static constexpr int kElements = kShape.elements();
  static constexpr int kSummed = kShape.summed();
  static constexpr uint32_t kSlices = uint32_t(kHeadDim / kSummed);
  static constexpr uint32_t kTokenLanes = kShape.token_lanes();
  static constexpr uint32_t kRingElements = kShape.ring_elements();
  static constexpr uint32_t kScales = kShape.scales();
  static constexpr uint32_t kSplit = kDecodeSplitTokens;

  BATON_DEVICE explicit DecodeSplit(const DecodeKernelArgs<T>& args)
      : args_(args),
        keys_and_values_(args.kv.base),
        ring_(arena_.template Take<T>(kRingElements)),
        scores_(arena_.template Take<float>(kHeads * kSplit)),
        q_(arena_.template Take<float>(kHeads * kHeadDim)),
        scales_(arena_.template Take<float>(kScales)),
        table_(arena_.template Take<int32_t>(PagedDecodeShape::kTableEntries)),
        statistics_(arena_.template Take<float>(kHeads * 2)) {}

  BATON_DEVICE void Run() {
    const Global<const int32_t> context_tokens(args_.context_tokens);
    span_ = SpanOf(context_tokens[BlockZ()], args_.window);
    split_ = span_.first_split + int32_t(BlockX());
    if (split_ >= span_.end_split) return EndWithoutWork();
    PlaceInSplit();
    LoadQueriesAndTable();
    SyncBlock();
    const uint32_t tiles = end_tile_ - first_tile_;
    BATON_UNROLL
    for (int h = 0; h < kHeads; ++h) {
      BATON_UNROLL
      for (int e = 0; e < kSummed; ++e) sums_[h][e] = 0;
    }
    LoadTile(0, tiles);
    if constexpr (kIsQuantized<T>) LoadScales();
    for (uint32_t step = 0; step < 2 * tiles; ++step) {
      LoadTile(step + 1, tiles);
      WaitCopies<1>();
      SyncBlock();  // the tile is there, for all threads
      const uint32_t tile = first_tile_ + step % tiles;
      if (step < tiles) {
        ScoreTile(step, tile);
      } else {
        AddTile(step, tile);
      }
      SyncBlock();  // its place in the ring is free, its scores are there
      // The weights are read after the next tile's barrier.
      if (step + 1 == tiles) Softmax();
    }
    WaitCopies<0>();
    WriteResult();
  }

 private:
  // Sequences without tokens fill up the batch: their rows are zero.
  BATON_DEVICE void EndWithoutWork() {
    if (span_.end > 0 || BlockX() > 0) return;
    for (uint32_t i = ThreadIndex(); i < kHeads * kHeadDim; i += kThreads) {
      const uint32_t head = i / kHeadDim;
      if (!IsHead(head)) continue;
      StoreOut(args_.out, args_.out_is_bf16, OutRow(head) * kHeadDim + i % kHeadDim, 0);
    }
  }

  BATON_DEVICE void PlaceInSplit() {
    const int32_t start = split_ * kDecodeSplitTokens;
    first_ = span_.first > start ? uint32_t(span_.first - start) : 0;
    end_ = span_.end - start < int32_t(kSplit) ? uint32_t(span_.end - start) : kSplit;
    first_tile_ = first_ / kTile;
    end_tile_ = (end_ + kTile - 1) / kTile;
  }

  // Query head `head` of this block, of all heads.
  BATON_DEVICE uint32_t kv_head() const { return BlockY() / args_.head_groups; }
  BATON_DEVICE uint32_t HeadInGroup(uint32_t head) const {
    return BlockY() % args_.head_groups * kHeads + head;
  }
  BATON_DEVICE bool IsHead(uint32_t head) const { return HeadInGroup(head) < args_.group; }
  BATON_DEVICE size_t OutRow(uint32_t head) const {
    return size_t{BlockZ()} * args_.num_q_heads + kv_head() * args_.group + HeadInGroup(head);
  }

  // Heads that fill up the block's are zero, which costs nothing but their arithmetic.
  BATON_DEVICE void LoadQueriesAndTable() {
    const Global<const float> q(args_.q);
    for (uint32_t i = ThreadIndex(); i < kHeads * kHeadDim; i += kThreads) {
      const uint32_t head = i / kHeadDim;
      q_[i] = IsHead(head) ? q[OutRow(head) * kHeadDim + i % kHeadDim] * args_.scale : 0.0f;
    }
    const Global<const int32_t> tables(args_.block_tables);
    const size_t row = size_t{BlockZ()} * args_.blocks_max;
    const uint32_t first = uint32_t(split_) * kSplit >> args_.kv.token_shift;
    const uint32_t blocks = (end_ - 1) >> args_.kv.token_shift;  // the last one
    for (uint32_t i = ThreadIndex() + (first_ >> args_.kv.token_shift); i <= blocks;
         i += kThreads) {
      table_[i] = tables[row + first + i];
    }
  }

  // Begins the copies of step `step`: K tiles, then V tiles, into the two places in turn.
  BATON_DEVICE void LoadTile(uint32_t step, uint32_t tiles) {
    if (step < 2 * tiles) {
      const uint32_t part = step < tiles ? 0 : 1;
      const uint32_t begin = (first_tile_ + step % tiles) * kTile;
      const uint32_t place = step % 2 * kTile * kChunks;
      for (uint32_t i = ThreadIndex(); i < kTile * kChunks; i += kThreads) {
        const uint32_t row = i / kChunks, chunk = i % kChunks, token = begin + row;
        if (token < first_ || token >= end_) continue;
        const uint32_t block = uint32_t(int32_t(table_[token >> args_.kv.token_shift]));
        const size_t from =
            args_.kv.Row(block, part, kv_head(), token & (args_.kv.block_tokens - 1));
        CopyAsync16(ring_, (place + Swizzled<kChunks>(row, chunk)) * kElements, keys_and_values_,
                    from + chunk * kElements);
      }
    }
    CommitCopies();
  }

  // While the first tile is on its way. They are read after its barrier.
  BATON_DEVICE void LoadScales() {
    for (uint32_t token = first_ + ThreadIndex(); token < end_; token += kThreads) {
      const uint32_t block = uint32_t(int32_t(table_[token >> args_.kv.token_shift]));
      const uint32_t inside = token & (args_.kv.block_tokens - 1);
      scales_[token] = args_.kv.Scales(block, 0, kv_head())[inside];
      scales_[kSplit + token] = args_.kv.Scales(block, 1, kv_head())[inside];
    }
  }

  // A thread takes one token and every kParts-th head.
  BATON_DEVICE void ScoreTile(uint32_t step, uint32_t tile) {
    constexpr uint32_t kParts = kThreads / kTile;
    constexpr uint32_t kHeadsPerThread = (kHeads + kParts - 1) / kParts;
    const uint32_t row = ThreadIndex() % kTile, token = tile * kTile + row;
    const uint32_t part = ThreadIndex() / kTile, place = step % 2 * kTile * kChunks;
    float dots[kHeadsPerThread] = {};
    const bool is_seen = token >= first_ && token < end_;
    if (is_seen) {
      BATON_UNROLL_BY(kElements == 16 ? 4 : 8)
      for (uint32_t chunk = 0; chunk < kChunks; ++chunk) {
        float key[kElements];
        UnpackAs<T>(ring_.Load16((place + Swizzled<kChunks>(row, chunk)) * kElements), key);
        BATON_UNROLL
        for (uint32_t i = 0; i < kHeadsPerThread; ++i) {
          if (i * kParts + part < kHeads) dots[i] += Dot(i * kParts + part, chunk, key);
        }
      }
      if constexpr (kIsQuantized<T>) {
        const float scale = scales_[token];
        BATON_UNROLL
        for (uint32_t i = 0; i < kHeadsPerThread; ++i) dots[i] *= scale;
      }
    }
    BATON_UNROLL
    for (uint32_t i = 0; i < kHeadsPerThread; ++i) {
      const uint32_t head = i * kParts + part;
      if (head < kHeads) scores_[head * kSplit + token] = is_seen ? dots[i] : kMinusInfinity;
    }
  }

  BATON_DEVICE float Dot(uint32_t head, uint32_t chunk, const float (&key)[kElements]) const {
    float dot = 0;
    BATON_UNROLL
    for (int e = 0; e < kElements; e += 4) {
      float q[4];
      Unpack(q_.Load16(head * kHeadDim + chunk * kElements + uint32_t(e)), q);
      BATON_UNROLL
      for (int j = 0; j < 4; ++j) dot = MultiplyAdd(q[j], key[e + j], dot);
    }
    return dot;
  }

  // A warp per head, in turns: scores become weights.
  BATON_DEVICE void Softmax() {
    const uint32_t begin = first_tile_ * kTile, end = end_tile_ * kTile;
    for (uint32_t head = WarpIndex(); head < kHeads; head += kThreads / kWarpLanes) {
      float largest = kMinusInfinity;
      for (uint32_t t = begin + LaneIndex(); t < end; t += kWarpLanes) {
        largest = Larger(largest, scores_[head * kSplit + t]);
      }
      largest = WarpMax(largest);
      float sum = 0;
      for (uint32_t t = begin + LaneIndex(); t < end; t += kWarpLanes) {
        const float weight = Exp2(scores_[head * kSplit + t] - largest);
        sum += weight;
        scores_[head * kSplit + t] = weight * ValueScale(t);
      }
      sum = WarpSum(sum);
      if (LaneIndex() == 0) {
        statistics_[2 * head] = largest;
        statistics_[2 * head + 1] = sum;
      }
    }
  }

  // Weights take their value's scale along. A tile's first and last tokens may be seen by nobody.
  BATON_DEVICE float ValueScale(uint32_t token) const {
    if constexpr (kIsQuantized<T>) {
      return token >= first_ && token < end_ ? float(scales_[kSplit + token]) : 0.0f;
    } else {
      return 1;
    }
  }

  // A thread takes some elements of every kTokenLanes-th token, for all heads.
  BATON_DEVICE void AddTile(uint32_t step, uint32_t tile) {
    const uint32_t lane = ThreadIndex() / kSlices, slice = ThreadIndex() % kSlices;
    const uint32_t chunk = slice * kSummed / kElements;
    if (lane >= kTokenLanes) return;
    const uint32_t place = step % 2 * kTile * kChunks;
    for (uint32_t row = lane; row < kTile; row += kTokenLanes) {
      const uint32_t token = tile * kTile + row;
      if (token < first_ || token >= end_) continue;
      float value[kSummed];
      LoadValues((place + Swizzled<kChunks>(row, chunk)) * kElements, slice, value);
      BATON_UNROLL
      for (int h = 0; h < kHeads; ++h) {
        const float weight = scores_[uint32_t(h) * kSplit + token];
        BATON_UNROLL
        for (int e = 0; e < kSummed; ++e) {
          sums_[h][e] = MultiplyAdd(weight, value[e], sums_[h][e]);
        }
      }
    }
  }
  // The slice's part of 16 bytes: all of it, or one half.
  BATON_DEVICE void LoadValues(size_t at, uint32_t slice, float (&value)[kSummed]) const {
    if constexpr (kSummed == kElements) {
      Unpack(ring_.Load16(at), value);
    } else {
      float both[kElements];
      UnpackAs<T>(ring_.Load16(at), both);
      BATON_UNROLL
      for (int e = 0; e < kSummed; ++e) value[e] = slice % 2 == 0 ? both[e] : both[kSummed + e];
    }
  }

  // Adds the threads' sums up, in the order of their lanes, in what was the ring.
  BATON_DEVICE void WriteResult() {
    const Shared<float> sums = ring_.template As<float>();
    const uint32_t lane = ThreadIndex() / kSlices, slice = ThreadIndex() % kSlices;
    if (lane < kTokenLanes) {
      BATON_UNROLL
      for (int h = 0; h < kHeads; ++h) {
        const uint32_t at = (lane * kHeads + uint32_t(h)) * kHeadDim + slice * kSummed;
        BATON_UNROLL
        for (int e = 0; e < kSummed; e += 4) {
          const float four[4] = {sums_[h][e], sums_[h][e + 1], sums_[h][e + 2], sums_[h][e + 3]};
          sums.Store16(at + uint32_t(e), Pack(four));
        }
      }
    }
    SyncBlock();  // all sums are there
    const bool is_whole = span_.end_split - span_.first_split == 1;
    for (uint32_t i = ThreadIndex(); i < kHeads * kHeadDim; i += kThreads) {
      const uint32_t head = i / kHeadDim;
      if (!IsHead(head)) continue;
      float sum = 0;
      for (uint32_t l = 0; l < kTokenLanes; ++l) sum += float(sums[l * kHeads * kHeadDim + i]);
      const float largest = statistics_[2 * head], weights = statistics_[2 * head + 1];
      if (is_whole) {
        StoreOut(args_.out, args_.out_is_bf16, OutRow(head) * kHeadDim + i % kHeadDim,
                 Divide(sum, weights));
        continue;
      }
      const size_t partial = OutRow(head) * args_.splits_max + BlockX();
      Global<float>(args_.sums)[partial * kHeadDim + i % kHeadDim] = sum;
      if (i % kHeadDim == 0) {
        const Global<float> statistics(args_.statistics);
        statistics[2 * partial] = largest;
        statistics[2 * partial + 1] = weights;
      }
    }
  }

  const DecodeKernelArgs<T>& args_;
  SharedArena arena_;
  Global<const T> keys_and_values_;
  Shared<T> ring_;            // [2][tile][D], swizzled
  Shared<float> scores_;      // [heads][split], later weights
  Shared<float> q_;           // [heads][D], scaled
  Shared<float> scales_;      // [K|V][split], of quantized pools
  Shared<int32_t> table_;     // block indices of the split
  Shared<float> statistics_;  // [heads][2]
  Span span_;
  int32_t split_;
  uint32_t first_, end_;  // tokens of the split that are seen
  uint32_t first_tile_, end_tile_;
  float sums_[kHeads][kSummed];
};

template <typename T, int kHeadDim, int kHeads>
BATON_KERNEL(PagedDecodeShape::kThreads)
void DecodeSplitKernel(DecodeKernelArgs<T> args) {
  DecodeSplit<T, kHeadDim, kHeads>(args).Run();
}

// One warp per query head: its splits, in rising order.
template <typename T>
BATON_KERNEL(128)
void DecodeMergeKernel(DecodeKernelArgs<T> args) {
  constexpr uint32_t kLanesOfDim = 8;  // D <= 256
  const uint32_t head = BlockX() * (BlockThreads() / kWarpLanes) + WarpIndex();
  if (head >= args.num_q_heads) return;
  const Global<const int32_t> context_tokens(args.context_tokens);
  const Span span = SpanOf(context_tokens[BlockZ()], args.window);
  const uint32_t splits = uint32_t(span.end_split - span.first_split);
  if (splits <= 1) return;  // written by the split
  const size_t row = size_t{BlockZ()} * args.num_q_heads + head;
  const Global<const float> statistics(args.statistics + 2 * row * args.splits_max);
  const uint32_t head_dim = args.kv.head_dim;
  const Global<const float> sums(args.sums + row * args.splits_max * head_dim);

  float largest = kMinusInfinity;
  for (uint32_t s = 0; s < splits; ++s) largest = Larger(largest, statistics[2 * s]);
  float weights = 0, merged[kLanesOfDim] = {};
  for (uint32_t s = 0; s < splits; ++s) {
    const float factor = Exp2(statistics[2 * s] - largest);
    weights = MultiplyAdd(factor, statistics[2 * s + 1], weights);
    BATON_UNROLL
    for (uint32_t k = 0; k < kLanesOfDim; ++k) {
      const uint32_t d = k * kWarpLanes + LaneIndex();
      if (d < head_dim) merged[k] = MultiplyAdd(factor, sums[s * head_dim + d], merged[k]);
    }
  }
  BATON_UNROLL
  for (uint32_t k = 0; k < kLanesOfDim; ++k) {
    const uint32_t d = k * kWarpLanes + LaneIndex();
    if (d < head_dim) {
      StoreOut(args.out, args.out_is_bf16, row * head_dim + d, Divide(merged[k], weights));
    }
  }
}

template <typename T, int kHeadDim>
Error LaunchSplit(const PagedDecodePlan& plan, const DecodeKernelArgs<T>& args, Stream stream) {
  constexpr const char* kName = "paged_decode";
  switch (plan.heads_per_block) {
    case 1:
      return LaunchKernel(kName, DecodeSplitKernel<T, kHeadDim, 1>, plan.split, stream, args);
    case 2:
      return LaunchKernel(kName, DecodeSplitKernel<T, kHeadDim, 2>, plan.split, stream, args);
    case 4:
      return LaunchKernel(kName, DecodeSplitKernel<T, kHeadDim, 4>, plan.split, stream, args);
    default:
      return LaunchKernel(kName, DecodeSplitKernel<T, kHeadDim, 8>, plan.split, stream, args);
  }
}

template <typename T>
Error LaunchFor(const PagedDecodeArgs& args, const PagedDecodePlan& plan, Stream stream) {
  const size_t partials = size_t(args.batch) * size_t(args.num_q_heads) * size_t(plan.splits_max);
  const DecodeKernelArgs<T> kernel_args = {
      .q = args.q,
      .kv = LayerOf<const T>(args.kv, args.layer),
      .context_tokens = args.context_tokens,
      .block_tables = args.block_tables,
      .blocks_max = uint32_t(args.blocks_max),
      .num_q_heads = uint32_t(args.num_q_heads),
      .group = uint32_t(args.num_q_heads / args.kv.num_kv_heads),
      .head_groups = uint32_t(plan.head_groups),
      .splits_max = uint32_t(plan.splits_max),
      .scale = args.scale * kLog2E,
      .window = args.window,
      .out_is_bf16 = args.out_dtype == DType::kBF16,
      .out = args.out,
      .statistics = args.workspace,
      .sums = plan.splits_max > 1 ? args.workspace + 2 * partials : nullptr};
  Error error;
  switch (args.kv.head_dim) {
    case 64:
      error = LaunchSplit<T, 64>(plan, kernel_args, stream);
      break;
    case 96:
      error = LaunchSplit<T, 96>(plan, kernel_args, stream);
      break;
    case 128:
      error = LaunchSplit<T, 128>(plan, kernel_args, stream);
      break;
    default:
      error = LaunchSplit<T, 256>(plan, kernel_args, stream);
      break;
  }
  if (error || plan.splits_max == 1) return error;
  return LaunchKernel("paged_decode_merge", DecodeMergeKernel<T>, plan.merge, stream, kernel_args);
}

}  // namespace

Error Launch(const PagedDecodeArgs& args, const PagedDecodePlan& plan, Stream stream) {
  switch (args.kv.dtype) {
    case DType::kF32:
      return LaunchFor<float>(args, plan, stream);
    case DType::kFp8:
      return LaunchFor<Fp8>(args, plan, stream);
    case DType::kInt8:
      return LaunchFor<Int8>(args, plan, stream);
    default:
      return LaunchFor<Bf16>(args, plan, stream);
  }
}

}  // namespace baton::kernels::cuda
