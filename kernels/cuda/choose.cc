#include <algorithm>

#include "kernels/cuda/activation/silu_mul.h"
#include "kernels/cuda/attention/paged_decode.h"
#include "kernels/cuda/attention/paged_decode_shape.h"
#include "kernels/cuda/attention/paged_plain.h"
#include "kernels/cuda/attention/paged_prefill.h"
#include "kernels/cuda/attention/paged_prefill_shape.h"
#include "kernels/cuda/embedding/embed.h"
#include "kernels/cuda/embedding/gather_rows.h"
#include "kernels/cuda/gemm/gemm.h"
#include "kernels/cuda/gemm/gemm_shape.h"
#include "kernels/cuda/kv/block_checksum.h"
#include "kernels/cuda/kv/block_copy.h"
#include "kernels/cuda/norm/rms_norm.h"
#include "kernels/cuda/rope/qk_norm_rope_kv.h"
#include "kernels/cuda/sampling/sample_tokens.h"
#include "kernels/cuda/sampling/sample_tokens_shape.h"

// How every launch is shaped. What decides the order of a row's additions (threads per row, tokens
// per split) depends on the row's own size only, never on the batch or the device.
namespace baton::kernels::cuda {
namespace {

constexpr uint32_t kWarp = 32;

template <typename Int>
constexpr Int CeilDivide(Int value, Int unit) {
  return (value + unit - 1) / unit;
}

// Whole warps that cover `items`, within [64, limit].
uint32_t ThreadsFor(int64_t items, uint32_t limit) {
  const int64_t warps = CeilDivide<int64_t>(items, kWarp);
  return uint32_t(std::clamp<int64_t>(warps * kWarp, 64, limit));
}

}  // namespace

LaunchShape Choose(const RmsNormArgs& args, const DeviceTraits&) {
  constexpr int32_t kFloatsPerThread = 16;
  const uint32_t threads = ThreadsFor(CeilDivide(args.hidden, kFloatsPerThread), 1024);
  return {.grid_x = uint32_t(args.num_tokens),
          .threads = threads,
          .shared_bytes = CeilDivide<size_t>(threads / kWarp * sizeof(float), 16) * 16};
}

LaunchShape Choose(const SiluMulArgs& args, const DeviceTraits&) {
  constexpr uint32_t kThreads = 256;
  const int64_t items = int64_t{args.num_tokens} * (args.intermediate / 8);
  return {.grid_x = uint32_t(CeilDivide<int64_t>(items, kThreads)), .threads = kThreads};
}

LaunchShape Choose(const EmbedArgs& args, const DeviceTraits&) {
  return {.grid_x = uint32_t(args.num_tokens), .threads = ThreadsFor(args.hidden / 8, 256)};
}

LaunchShape Choose(const QkNormRopeKvArgs& args, const DeviceTraits&) {
  constexpr uint32_t kThreads = 128;
  const int64_t heads =
      int64_t{args.qkv.num_tokens} * (args.qkv.num_q_heads + 2 * args.kv.num_kv_heads);
  return {.grid_x = uint32_t(CeilDivide<int64_t>(heads, kThreads / kWarp)), .threads = kThreads};
}

PagedDecodePlan Choose(const PagedDecodeArgs& args, const DeviceTraits&) {
  constexpr uint32_t kMergeThreads = 128;
  const int32_t group = args.num_q_heads / args.kv.num_kv_heads;
  PagedDecodePlan plan;
  while (plan.heads_per_block < std::min(group, 8)) plan.heads_per_block *= 2;
  plan.head_groups = CeilDivide(group, plan.heads_per_block);
  plan.splits_max = CeilDivide(args.context_tokens_max, kDecodeSplitTokens);
  if (args.window > 0) {  // a window reaches into one split more than it fills
    plan.splits_max = std::min(plan.splits_max, CeilDivide(args.window, kDecodeSplitTokens) + 1);
  }
  const PagedDecodeShape shape = {args.kv.head_dim, int(BytesOf(args.kv.dtype)),
                                  plan.heads_per_block};
  plan.split = {.grid_x = uint32_t(plan.splits_max),
                .grid_y = uint32_t(args.kv.num_kv_heads * plan.head_groups),
                .grid_z = uint32_t(args.batch),
                .threads = PagedDecodeShape::kThreads,
                .shared_bytes = shape.SharedBytes()};
  plan.merge = {.grid_x = CeilDivide<uint32_t>(uint32_t(args.num_q_heads), kMergeThreads / kWarp),
                .grid_z = uint32_t(args.batch),
                .threads = kMergeThreads};
  return plan;
}

size_t PagedDecodeWorkspaceBytes(const PagedDecodeArgs& args) {
  const int32_t splits = Choose(args, kSmallestDevice).splits_max;
  if (splits == 1) return 0;
  return size_t(args.batch) * size_t(args.num_q_heads) * size_t(splits) *
         size_t(args.kv.head_dim + 2) * sizeof(float);
}

PagedPrefillPlan Choose(const PagedPrefillArgs& args, const DeviceTraits& device) {
  const int64_t rows = int64_t{args.query_tokens_max} * (args.num_q_heads / args.kv.num_kv_heads);
  // The copy engine counts a layer's rows in 31 bits.
  const int64_t pool_rows =
      int64_t{args.kv.num_blocks} * 2 * args.kv.num_kv_heads * args.kv.block_tokens;
  const bool on_warpgroups =
      device.has_warpgroups && pool_rows <= INT32_MAX && args.kv.dtype == DType::kBF16;
  const auto grid = [&](int64_t rows_per_block, int threads, size_t shared_bytes) -> LaunchShape {
    return {.grid_x = uint32_t(CeilDivide(rows, rows_per_block)),
            .grid_y = uint32_t(args.kv.num_kv_heads),
            .grid_z = uint32_t(args.batch),
            .threads = uint32_t(threads),
            .shared_bytes = shared_bytes};
  };
  if (on_warpgroups) {
    using Shape = PagedPrefillGroupShape;
    return {true, grid(Shape::kRows, Shape::kThreads, Shape{args.kv.head_dim}.SharedBytes())};
  }
  using Shape = PagedPrefillShape;
  const Shape shape = {args.kv.head_dim, IsQuantized(args.kv.dtype)};
  return {false, grid(Shape::kRows, Shape::kThreads, shape.SharedBytes())};
}

LaunchShape Choose(const PagedPlainArgs& args, const DeviceTraits&) {
  constexpr uint32_t kWarps = 4;
  const int64_t rows = int64_t{args.call.query_tokens_max} * args.call.num_q_heads;
  return {.grid_x = uint32_t(CeilDivide<int64_t>(rows, kWarps)),
          .grid_z = uint32_t(args.call.batch),
          .threads = kWarps * kWarp};
}

GemmPlan Choose(const GemmArgs& args, const DeviceTraits& device) {
  const auto grid = [&](uint32_t tokens, uint32_t outputs) -> LaunchShape {
    return {.grid_x = CeilDivide(uint32_t(args.num_tokens), tokens),
            .grid_y = CeilDivide(uint32_t(args.num_outputs), outputs)};
  };
  GemmPlan plan;
  if (args.dtype == DType::kF32) {
    plan = {GemmTile::kF32, grid(GemmF32Shape::kTokens, GemmF32Shape::kOutputs)};
    plan.shape.threads = GemmF32Shape::kThreads;
    plan.shape.shared_bytes = GemmF32Shape::kSharedBytes;
    return plan;
  }
  if (device.has_warpgroups && args.num_tokens > 64) {
    plan = {GemmTile::kWarpgroup, grid(GemmWarpgroupShape::kTokens, GemmWarpgroupShape::kOutputs)};
    plan.shape.threads = GemmWarpgroupShape::kThreads;
    plan.shape.shared_bytes = GemmWarpgroupShape::kSharedBytes;
    return plan;
  }
  GemmShape tile = kGemmWide;
  plan.tile = GemmTile::kWide;
  if (args.num_tokens <= 16) {
    tile = kGemmNarrow, plan.tile = GemmTile::kNarrow;
  } else if (args.num_tokens <= 64) {
    tile = kGemmMiddle, plan.tile = GemmTile::kMiddle;
  }
  plan.shape = grid(tile.tokens, tile.outputs);
  plan.shape.threads = tile.threads();
  plan.shape.shared_bytes = tile.SharedBytes();
  return plan;
}

LaunchShape Choose(const GatherRowsArgs& args, const DeviceTraits&) {
  return {.grid_x = uint32_t(args.num_rows),
          .threads = ThreadsFor(int64_t(args.row_bytes / 16), 256)};
}

LaunchShape Choose(const KvBlockCopyArgs& args, const DeviceTraits&) {
  const size_t vecs = size_t(args.num_heads) * args.kv.head_bytes() / 16;
  return {.grid_x = 2 * uint32_t(args.num_blocks),
          .grid_y = uint32_t(args.num_layers),
          .threads = ThreadsFor(int64_t(vecs), 256)};
}

size_t KvStagingBytes(const KvBlockCopyArgs& args) {
  return size_t(args.num_layers) * size_t(args.num_blocks) * 2 * size_t(args.num_heads) *
         args.kv.head_bytes();
}

LaunchShape Choose(const BlockChecksumArgs& args, const DeviceTraits&) {
  return {.grid_x = uint32_t(args.num_pieces),
          .threads = kChecksumThreads,
          .shared_bytes = ChecksumSharedBytes()};
}

// A row's token does not depend on the number of threads: whoever comes, sums are of integers.
LaunchShape Choose(const SampleTokensArgs& args, const DeviceTraits&) {
  const uint32_t warps = uint32_t(CeilDivide<int64_t>(args.vocabulary, 32 * 16));
  return {.grid_x = uint32_t(args.batch),
          .threads = std::min(32 * warps, SampleTokensShape::kThreadsMax),
          .shared_bytes = SampleTokensShape::kSharedBytes};
}

}  // namespace baton::kernels::cuda
