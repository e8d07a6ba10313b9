#include "kernels/cpu/gemm.h"

#include <algorithm>
#include <cstring>

#include "kernels/activation_row.h"
#include "kernels/check.h"

namespace baton::kernels {
namespace {

// A panel's block of k stays in the first-level cache (48 KiB on the machines this was tuned on)
// while tile after tile of x passes over it.
constexpr int64_t kBlockDwords = 224;
// The rows of x that one task passes over a panel stay in the second-level cache.
constexpr int64_t kChunkBytes = 512 << 10;
// A task streams at least this much weight, so that taking one costs nothing beside it.
constexpr int64_t kTaskBytes = 96 << 10;
constexpr int64_t kJoinPanels = 4;
// How far ahead of its use a weight that meets a single tile is fetched.
constexpr int64_t kStreamLeadBytes = 8 << 10;
constexpr int64_t kAccFloats = int64_t{kTileRowsMax} * kPanelLanes;

int64_t CeilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

int32_t TileBegin(int32_t tile, int32_t num_tiles, int32_t num_tokens) {
  return int32_t(int64_t{tile} * num_tokens / num_tiles);
}

// The last dword of a row of x whose partner may be missing: a bf16, or nothing at all.
uint32_t LastDword(const GemmArgs& args, const PackedMatrix& w, bool pairs, int64_t row) {
  if (!pairs) return 0;
  return static_cast<const uint16_t*>(args.x)[(row + 1) * w.cols() - 1];
}

}  // namespace

GemmRunner::GemmRunner(const IsaOps& ops, ThreadPool& pool)
    : ops_(ops), pool_(pool), per_thread_(size_t(pool.num_threads())) {}

TileFn GemmRunner::TileOf(const Plan& plan) const {
  if (plan.groups > 0) return ops_.tile_int4;
  if (plan.int8) return ops_.tile_int8;
  if (plan.bf16_dot) return ops_.tile_bf16_packed;
  return plan.pairs && !plan.widen ? ops_.tile_f32_pairs : ops_.tile_f32_packed;
}

GemmRunner::Plan GemmRunner::MakePlan(const GemmArgs& args, const PackedMatrix& w) {
  Plan plan;
  plan.bf16_dot = w.dtype() == DType::kBF16 && ops_.bf16_dot;
  plan.pairs = w.dtype() == DType::kBF16 && !ops_.bf16_dot;
  plan.widen = plan.pairs && ops_.tile_f32_pairs == nullptr;
  plan.int8 = IsQuantizedWeight(w.dtype());
  plan.groups = w.group() > 0 ? w.num_groups() : 0;
  plan.tile = TileOf(plan);
  plan.k = plan.pairs ? 2 * w.dwords() : w.dwords();
  const int64_t blocks = CeilDiv(plan.k, kBlockDwords);
  plan.k_block = plan.groups > 0 ? w.group() / 4 : CeilDiv(CeilDiv(plan.k, blocks), 8) * 8;
  plan.num_tiles = int32_t(CeilDiv(args.num_tokens, kTileRowsMax));
  // Where all of k fits, a chunk of rows stays in the cache from panel to panel; else a block of k
  // of it does, for a few panels at once.
  const bool whole_k = plan.k * kTileRowsMax * 4 * 8 <= kChunkBytes || plan.num_tiles < 8;
  const int64_t tile_bytes = (whole_k ? plan.k : plan.k_block) * kTileRowsMax * 4;
  plan.chunk_tiles = int32_t(std::clamp<int64_t>(kChunkBytes / tile_bytes, 8, 32));
  const int64_t chunks = CeilDiv(plan.num_tiles, plan.chunk_tiles);
  plan.chunk_tiles = int32_t(CeilDiv(plan.num_tiles, chunks));
  plan.join_panels = whole_k ? 1 : kJoinPanels;
  const int64_t enough = CeilDiv(kTaskBytes, int64_t(w.panel_bytes()));
  const int64_t fair = std::max<int64_t>(1, w.num_panels() * chunks / (4 * pool_.num_threads()));
  plan.task_panels = std::max(plan.join_panels, std::min(enough, fair));
  plan.x = nullptr;
  return plan;
}

const uint32_t* GemmRunner::PackRows(const GemmArgs& args, const PackedMatrix& w,
                                     const Plan& plan) {
  // A row of int8 is padded already, to whole dwords.
  const int64_t x_dwords = plan.int8       ? CeilDiv(w.cols(), 4)
                           : plan.bf16_dot ? w.cols() / 2
                                           : w.cols();
  const DType x_dtype = plan.int8 ? DType::kInt8 : plan.bf16_dot ? DType::kBF16 : DType::kF32;
  const bool as_it_lies = args.num_tokens == 1 && x_dwords == plan.k;
  if (as_it_lies) {
    if (plan.int8) ReadScales(args, w, plan, 0, 1);
    return static_cast<const uint32_t*>(args.x);
  }
  auto* packed =
      reinterpret_cast<uint32_t*>(packed_.Reserve(size_t(args.num_tokens) * size_t(plan.k) * 4));
  const size_t row_bytes = ActivationRowBytes(x_dtype, w.cols());
  const auto pack = [&](int64_t tile, int) {
    const int32_t begin = TileBegin(int32_t(tile), plan.num_tiles, args.num_tokens);
    const int32_t rows = TileBegin(int32_t(tile) + 1, plan.num_tiles, args.num_tokens) - begin;
    uint32_t* out = packed + begin * plan.k;
    ops_.pack_rows(static_cast<const std::byte*>(args.x) + size_t(begin) * row_bytes, row_bytes,
                   rows, x_dwords, out);
    if (plan.int8) {
      ReadScales(args, w, plan, begin, begin + rows);
      std::fill(out + x_dwords * rows, out + plan.k * rows, 0);  // the last group's missing ones
      return;
    }
    if (x_dwords == plan.k) return;
    for (int32_t r = 0; r < rows; ++r) {
      out[x_dwords * rows + r] = LastDword(args, w, plan.bf16_dot, begin + r);
    }
  };
  pool_.ParallelFor(plan.num_tiles, pack);
  return packed;
}

void GemmRunner::ReadScales(const GemmArgs& args, const PackedMatrix& w, const Plan& plan,
                            int64_t begin, int64_t end) {
  const int64_t groups = std::max<int64_t>(1, plan.groups);
  const int64_t group = plan.groups > 0 ? w.group() : w.cols();
  const size_t row_bytes = ActivationRowBytes(DType::kInt8, w.cols());
  for (int64_t t = begin; t < end; ++t) {
    const std::byte* row = static_cast<const std::byte*>(args.x) + size_t(t) * row_bytes;
    x_scales_[size_t(t)] = ScaleOf(row, w.cols());
    for (int64_t g = 0; g < groups; ++g) {
      const int64_t count = std::min(group, w.cols() - g * group);
      x_sums_[size_t(t * groups + g)] = ops_.sum_int8(row + g * group, count);
    }
  }
}

void GemmRunner::Run(const GemmArgs& args, const PackedMatrix& w) {
  if (args.num_tokens <= 0) return;
  Plan plan = MakePlan(args, w);
  if (plan.int8) {
    const size_t tokens = size_t(args.num_tokens);
    x_scales_.resize(std::max(x_scales_.size(), tokens));
    x_sums_.resize(std::max(x_sums_.size(), tokens * size_t(std::max<int64_t>(1, plan.groups))));
  }
  plan.x = PackRows(args, w, plan);
  const int64_t chunks = CeilDiv(plan.num_tiles, plan.chunk_tiles);
  pool_.ParallelFor(chunks * CeilDiv(w.num_panels(), plan.task_panels),
                    [&](int64_t task, int thread) { RunTask(args, w, plan, task, thread); });
}

void GemmRunner::RunTask(const GemmArgs& args, const PackedMatrix& w, const Plan& plan,
                         int64_t task, int thread) {
  const int64_t groups = CeilDiv(w.num_panels(), plan.task_panels);
  const int32_t first_tile = int32_t(task / groups) * plan.chunk_tiles;
  const int32_t end_tile = std::min(first_tile + plan.chunk_tiles, plan.num_tiles);
  const int64_t acc_floats = plan.join_panels * plan.chunk_tiles * kAccFloats;
  const int64_t widened_floats = plan.widen || plan.groups > 0 ? plan.k_block * kPanelLanes : 0;
  const int64_t group_floats = plan.groups > 0 ? kAccFloats : 0;
  auto* scratch = reinterpret_cast<float*>(per_thread_[size_t(thread)].Reserve(
      size_t(acc_floats + widened_floats + group_floats) * sizeof(float)));
  const int64_t first_panel = task % groups * plan.task_panels;
  const int64_t end_panel = std::min(first_panel + plan.task_panels, w.num_panels());
  for (int64_t panel = first_panel; panel < end_panel; panel += plan.join_panels) {
    RunPanels(args, w, plan, first_tile, end_tile, panel,
              std::min(panel + plan.join_panels, end_panel), scratch);
  }
}

void GemmRunner::RunPanels(const GemmArgs& args, const PackedMatrix& w, const Plan& plan,
                           int32_t first_tile, int32_t end_tile, int64_t first_panel,
                           int64_t end_panel, float* scratch) {
  const int64_t panel_floats = plan.chunk_tiles * kAccFloats;
  float* widened = scratch + plan.join_panels * panel_floats;
  for (int64_t k0 = 0; k0 < plan.k; k0 += plan.k_block) {
    for (int64_t panel = first_panel; panel < end_panel; ++panel) {
      RunBlock(args, w, plan, first_tile, end_tile, panel, k0,
               scratch + (panel - first_panel) * panel_floats, widened);
    }
  }
}

// One block of k of one panel, for all tiles of the task; after the last block the outputs are
// stored.
void GemmRunner::RunBlock(const GemmArgs& args, const PackedMatrix& w, const Plan& plan,
                          int32_t first_tile, int32_t end_tile, int64_t panel, int64_t k0,
                          float* acc, float* widened) {
  if (plan.groups > 0) {
    return RunGroup(args, w, plan, first_tile, end_tile, panel, k0, acc, widened);
  }
  const int64_t k = std::min(plan.k_block, plan.k - k0);
  const int64_t row_bytes = kPanelLanes * (plan.pairs ? 2 : 4);
  const std::byte* block = w.panel(panel) + k0 * row_bytes;
  if (plan.widen) ops_.widen_panel(block, k / 2, widened);
  // What goes over the weight once streams with a short lead; else the next block is fetched,
  // evenly, meanwhile.
  const int32_t num_tiles = end_tile - first_tile;
  const bool once = args.num_tokens <= ops_.rows_at_once;
  const std::byte* ahead = block + (once ? kStreamLeadBytes : k * row_bytes);
  const int64_t fetch_bytes = CeilDiv(k * row_bytes, num_tiles);
  for (int32_t tile = first_tile; tile < end_tile; ++tile, acc += kAccFloats) {
    const int32_t begin = TileBegin(tile, plan.num_tiles, args.num_tokens);
    const int32_t rows = TileBegin(tile + 1, plan.num_tiles, args.num_tokens) - begin;
    plan.tile({.rows = rows,
               .x = plan.x + begin * plan.k + k0 * rows,
               .panel = plan.widen ? static_cast<const void*>(widened) : block,
               .k = k,
               .acc = acc,
               .first = k0 == 0,
               .prefetch = ahead + (tile - first_tile) * fetch_bytes,
               .prefetch_step = CeilDiv(fetch_bytes, 2 * k)});
    if (k0 + k == plan.k) Store(args, w, plan, panel, begin, rows, acc);
  }
}

// The same for a group of int4: its sums are added to the totals in f32. `scratch` has room for the
// group in bytes and a tile's sums.
void GemmRunner::RunGroup(const GemmArgs& args, const PackedMatrix& w, const Plan& plan,
                          int32_t first_tile, int32_t end_tile, int64_t panel, int64_t k0,
                          float* total, float* scratch) {
  const int64_t k = plan.k_block, group = k0 / k;
  const PackedMatrix::GroupView view = w.group_of(panel, group);
  auto* bytes = reinterpret_cast<uint32_t*>(scratch);
  float* sums = scratch + k * kPanelLanes;
  ops_.unpack_int4(view.packed, k / 2, bytes);
  const int64_t fetch_bytes = CeilDiv(int64_t(w.group_bytes()), end_tile - first_tile);
  const std::byte* ahead = view.packed + kStreamLeadBytes;
  for (int32_t tile = first_tile; tile < end_tile; ++tile, total += kAccFloats) {
    const int32_t begin = TileBegin(tile, plan.num_tiles, args.num_tokens);
    const int32_t rows = TileBegin(tile + 1, plan.num_tiles, args.num_tokens) - begin;
    plan.tile({.rows = rows,
               .x = plan.x + begin * plan.k + k0 * rows,
               .panel = bytes,
               .k = k,
               .acc = sums,
               .first = true,
               .prefetch = ahead + (tile - first_tile) * fetch_bytes,
               .prefetch_step = CeilDiv(fetch_bytes, 2 * k)});
    ops_.fold_int4({.acc = reinterpret_cast<const int32_t*>(sums),
                    .x_sums = x_sums_.data() + begin * plan.groups + group,
                    .x_sums_stride = plan.groups,
                    .scales = view.scales,
                    .zeros = view.zeros,
                    .total = total,
                    .rows = rows,
                    .first = k0 == 0});
    if (k0 + k < plan.k) continue;
    ops_.scale_tile(total, rows, x_scales_.data() + begin);
    Store(args, w, plan, panel, begin, rows, total);
  }
}

// The outputs of one finished tile.
void GemmRunner::Store(const GemmArgs& args, const PackedMatrix& w, const Plan& plan, int64_t panel,
                       int32_t begin, int32_t rows, const float* acc) {
  const int64_t n0 = panel * kPanelLanes;
  const int lanes = int(std::min<int64_t>(kPanelLanes, w.rows() - n0));
  const float* bias = args.bias == nullptr ? nullptr : args.bias + n0;
  float* out = args.out + begin * w.rows() + n0;
  const bool is_sum = plan.int8 && plan.groups == 0;
  if (!is_sum) return ops_.store_tile(acc, rows, bias, args.add, out, w.rows(), lanes);
  ops_.store_int8({.acc = reinterpret_cast<const int32_t*>(acc),
                   .x_scales = x_scales_.data() + begin,
                   .x_sums = x_sums_.data() + begin,
                   .w_scales = w.scales(panel),
                   .bias = bias,
                   .out = out,
                   .stride = w.rows(),
                   .rows = rows,
                   .lanes = lanes,
                   .add = args.add});
}

}  // namespace baton::kernels
