#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/dtype.h"

// What an instruction set has to offer: the inner loops, one table per set. Everything above them
// (blocking, tasks, threads) is compiled for any x86-64 and calls through the table. Files that
// fill a table are compiled with that set's flags and run only after DetectIsa() has seen it on the
// machine.
//
// Terms. A *panel* is 32 outputs of a weight, laid out [k][32] in dwords: a dword is one f32, a
// pair of bf16 (k, k + 1) or four bytes. A *tile* is up to 12 rows of x times one panel,
// accumulated in f32 in [row][32]. Every output is one chain of multiply-adds over rising k,
// however many rows a tile has: this is what makes a row's bits independent of its batch. Tiles of
// bytes accumulate whole numbers, in int32, which are the same in any order.
namespace baton::kernels {

constexpr int kPanelLanes = 32;
constexpr int kTileRowsMax = 12;
constexpr int kKvTileTokens = 64;  // attention's tile, aligned at absolute positions

// How the rows of x lie in memory.
enum class XLayout : uint8_t {
  kPacked,  // [k][rows] dwords
  kRows64,  // [row][64] dwords, one row after another
};

struct TileArgs {
  int rows = 0;                       // 1 .. 12
  XLayout layout = XLayout::kPacked;  // as the function called says
  const void* x = nullptr;
  const void* panel = nullptr;  // [k][32] dwords
  int64_t k = 0;                // dwords
  float* acc = nullptr;         // [rows][32]
  bool first = false;           // start from 0 instead of acc
  // Weights to come, fetched into the second-level cache: two lines per k, `prefetch_step` apart.
  const void* prefetch = nullptr;
  int64_t prefetch_step = 0;
};

using TileFn = void (*)(const TileArgs&);

// Bytes of a weight are kept without a sign, int8 + 128: this is what the instructions take.
constexpr int32_t kWeightZero = 128;

// What a tile of bytes came to, on its way to the outputs.
struct Int8StoreArgs {
  const int32_t* acc = nullptr;     // [rows][32]: sums of (w + kWeightZero) x
  const float* x_scales = nullptr;  // [rows]
  const int32_t* x_sums = nullptr;  // [rows]: the sum of each row's elements
  const float* w_scales = nullptr;  // [32]
  const float* bias = nullptr;      // [lanes], or null
  float* out = nullptr;             // rows are `stride` apart
  int64_t stride = 0;
  int rows = 0;
  int lanes = 0;
  bool add = false;
};

struct SoftmaxTileArgs {
  int rows = 0;
  const float* scores[2] = {};  // [rows][32] each: tokens 0-31 and 32-63 of the tile
  float scale = 1;
  // [64] by token, or both null: what scores are multiplied with first, and weights last.
  const float* key_scales = nullptr;
  const float* value_scales = nullptr;
  const int32_t* begin = nullptr;  // [rows] first visible token of the tile
  const int32_t* end = nullptr;    // [rows] behind the last visible one; begin < end
  float* largest = nullptr;        // [rows] running maximum, updated
  float* sum = nullptr;            // [rows][16] running sums, one per lane, updated
  float* correction = nullptr;     // [rows] out: what earlier results are to be multiplied with
  bool bf16_weights = false;
  void* weights = nullptr;  // out, kRows64: 64 f32 or 32 pairs of bf16 per row
};

// One group of a tile of int4 on its way into the totals.
struct Int4FoldArgs {
  const int32_t* acc = nullptr;     // [rows][32]: sums of w x over the group
  const int32_t* x_sums = nullptr;  // the sum of the row's elements in the group, ...
  int64_t x_sums_stride = 0;        // ... so far from the next row's
  const float* scales = nullptr;    // [32]
  const uint8_t* zeros = nullptr;   // [32]
  float* total = nullptr;           // [rows][32]
  int rows = 0;
  bool first = false;  // start from 0 instead of total
};

struct IsaOps {
  const char* name;
  bool bf16_dot;  // multiplies bf16 pairs; else bf16 weights are widened and met by f32 activations
  int rows_at_once;  // rows of a tile that go over a panel together; with more it is read again

  TileFn tile_f32_packed, tile_f32_rows;
  TileFn tile_bf16_packed, tile_bf16_rows;  // null without bf16_dot
  // f32 rows, packed, by a panel of bf16 pairs: `k` counts floats of x and is even. Null: pairs are
  // widened to f32 first.
  TileFn tile_f32_pairs;
  // kPacked. x: dwords of four int8; panel: of four bytes without a sign; acc: int32.
  TileFn tile_int8;
  // The same where the panel's bytes are 0 to 15 and k is a multiple of 8.
  TileFn tile_int4;
  // `rows` times [32] dwords of eight int4 to 2 rows of [32] dwords of four bytes: of each byte
  // the lower half, then the upper one.
  void (*unpack_int4)(const std::byte* packed, int64_t rows, uint32_t* out);
  // total = fma(acc - zero * x_sum, scale, first ? 0 : total).
  void (*fold_int4)(const Int4FoldArgs& args);
  // Pairs of bf16 [k][32] to f32 [2 k][32].
  void (*widen_panel)(const void* panel, int64_t k, float* out);
  // `rows` (1 .. 12) rows of x to kPacked, `k` dwords of each.
  void (*pack_rows)(const std::byte* x, size_t row_bytes, int rows, int64_t k, uint32_t* out);
  // out[r][0 .. lanes) = (add ? out : 0) + acc[r] + bias; rows of out are `stride` apart.
  void (*store_tile)(const float* acc, int rows, const float* bias, bool add, float* out,
                     int64_t stride, int lanes);

  // out = (add ? out : 0) + (acc - kWeightZero * x_sum) * (x_scale * w_scale) + bias.
  void (*store_int8)(const Int8StoreArgs& args);
  // The sum of `n` int8, at most kInt8ColsMax of them.
  int32_t (*sum_int8)(const std::byte* x, int64_t n);
  // A row of int8 as activation_row.h has it.
  void (*quantize_row)(const float* x, int32_t n, std::byte* out);

  void (*rms_norm)(const float* x, const float* weight, float epsilon, int32_t n, DType dtype,
                   void* out);
  void (*silu_mul)(const float* gate, const float* up, int32_t n, DType dtype, void* out);
  void (*rotate)(const float* head, const float* cos, const float* sin, int32_t half, DType dtype,
                 void* out);
  void (*store_row)(const float* x, int32_t n, DType dtype, void* out);
  int32_t (*largest_logit)(const float* logits, int32_t n);

  // `n` elements of fp8 or int8 as they are, without their scales, to f32 or bf16: exactly.
  void (*widen_quantized)(const std::byte* from, DType dtype, int64_t n, DType to, void* out);
  // `tokens` (0 .. 16) rows of K [token][dim] become 16 lanes of a panel [dim][32] of f32, or with
  // `pairs` of bf16 pairs [dim / 2][32]. Absent tokens become 0.
  void (*pack_keys)(const std::byte* keys, DType dtype, bool pairs, int tokens, int32_t dim,
                    uint32_t* panel);
  // `tokens` (0 .. 16, from an even one on) rows of V become rows of panels
  // [ceil(dim / 32)][64 tokens or 32 pairs][32]. Absent tokens and lanes become 0.
  void (*pack_values)(const std::byte* values, DType dtype, bool pairs, int tokens, int32_t dim,
                      uint32_t* panels);
  void (*softmax_tile)(const SoftmaxTileArgs& args);
  // acc[r][0 .. 32) *= factor[r].
  void (*scale_tile)(float* acc, int rows, const float* factor);
  // Joins two states of attention of the same rows over neighbouring parts of the context. A state
  // is 12 maxima (padded to 16; -inf: the row has seen nothing), sums [12][16], results
  // [panel][12][32].
  void (*merge_states)(float* into, const float* from, int rows, int panels, float scale);
  // out[0 .. dim) = acc[panel][0 .. 32) / the sum of 16 lanes; panels are 12 x 32 floats apart.
  void (*divide_row)(const float* acc, const float* sums, int32_t dim, DType dtype, void* out);
};

// Null when the compiler's or the machine's side is missing.
const IsaOps* FindIsa(const char* name);  // "auto", "avx512_bf16", "avx512", "avx2"

// Filled by isa_*.cc. Call only behind FindIsa's checks of the machine.
const IsaOps* Avx2Ops();
const IsaOps* Avx512Ops();
const IsaOps* Avx512Bf16Ops();
TileFn VnniTile();

}  // namespace baton::kernels
