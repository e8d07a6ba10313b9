#pragma once

#include "kernels/cpu/isa_ops.h"
#include "kernels/quantized_row.h"

// The inner loops over any sixteen-lane Vec. Included by isa_*.cc only. Compiled without
// contraction: where a fused multiply-add is meant, Fma says so. Nothing here may come from the
// standard library: an inline function compiled for AVX-512 could be the copy the linker keeps for
// everyone.
namespace baton::kernels {

template <typename Vec>
struct Ops {
  static BATON_INLINE Vec LoadAny(const void* data, DType dtype, int64_t i, int n) {
    if (dtype == DType::kF32) {
      const float* p = static_cast<const float*>(data) + i;
      return n == 16 ? Vec::Load(p) : Vec::LoadFirst(p, n);
    }
    const uint16_t* p = static_cast<const uint16_t*>(data) + i;
    return n == 16 ? Vec::LoadBf16(p) : Vec::LoadBf16First(p, n);
  }

  static BATON_INLINE void StoreAny(Vec v, void* data, DType dtype, int64_t i, int n) {
    if (dtype == DType::kF32) {
      float* p = static_cast<float*>(data) + i;
      n == 16 ? v.Store(p) : v.StoreFirst(p, n);
    } else {
      uint16_t* p = static_cast<uint16_t*>(data) + i;
      n == 16 ? v.StoreBf16(p) : v.StoreBf16First(p, n);
    }
  }

  static BATON_INLINE int LanesAt(int64_t i, int64_t n) { return n - i < 16 ? int(n - i) : 16; }

  // e^x within 2 ulp; exactly 1 at 0; 0 below -87.3; finite above 88.
  static BATON_INLINE Vec Exp(Vec x) {
    const Vec lowest = Vec::Set(-87.3f);
    const Vec y = Vec::Min(Vec::Set(88.0f), Vec::Max(lowest, x));
    const Vec n = Vec::Round(y * Vec::Set(1.44269504f));
    Vec r = Vec::Fma(n, Vec::Set(-0.693359375f), y);
    r = Vec::Fma(n, Vec::Set(2.12194440e-4f), r);
    Vec p = Vec::Set(1.9875691500e-4f);
    p = Vec::Fma(p, r, Vec::Set(1.3981999507e-3f));
    p = Vec::Fma(p, r, Vec::Set(8.3334519073e-3f));
    p = Vec::Fma(p, r, Vec::Set(4.1665795894e-2f));
    p = Vec::Fma(p, r, Vec::Set(1.6666665459e-1f));
    p = Vec::Fma(p, r, Vec::Set(5.0000001201e-1f));
    p = Vec::Fma(p * r, r, r) + Vec::Set(1.0f);
    return Vec::KeepWhereAtLeast(p * Vec::PowerOfTwo(n), x, lowest);
  }

  static void WidenPanel(const void* panel, int64_t k, float* out) {
    const auto* from = static_cast<const uint32_t*>(panel);
    for (int64_t i = 0; i < k; ++i, from += kPanelLanes, out += 2 * kPanelLanes) {
      Vec::LowOfPairs(from).Store(out);
      Vec::LowOfPairs(from + 16).Store(out + 16);
      Vec::HighOfPairs(from).Store(out + 32);
      Vec::HighOfPairs(from + 16).Store(out + 48);
    }
  }

  // Twelve rows far apart are more streams than the hardware follows.
  static constexpr int64_t kRowLeadBytes = 512;

  static void PackRows(const std::byte* x, size_t row_bytes, int rows, int64_t k, uint32_t* out) {
    alignas(64) uint32_t square[16][16];
    for (int64_t i = 0; i < k; i += 16) {
      const int columns = LanesAt(i, k);
      for (int r = 0; r < rows; ++r) {
        __builtin_prefetch(x + size_t(r) * row_bytes + i * 4 + kRowLeadBytes);
      }
      Vec::Transpose(x + i * 4, row_bytes, rows, columns, square[0], 16);
      // What is stored too much the next column overwrites; behind the last ones lie another
      // thread's rows.
      for (int c = 0; c < columns; ++c, out += rows) {
        const Vec column = Vec::Load(reinterpret_cast<const float*>(square[c]));
        auto* to = reinterpret_cast<float*>(out);
        (k - i - c) * rows >= 16 ? column.Store(to) : column.StoreFirst(to, rows);
      }
    }
  }

  static void StoreTile(const float* acc, int rows, const float* bias, bool add, float* out,
                        int64_t stride, int lanes) {
    for (int lane = 0; lane < lanes; lane += 16) {
      const int n = LanesAt(lane, lanes);
      const Vec b = bias == nullptr ? Vec::Zero() : Vec::LoadFirst(bias + lane, n);
      for (int r = 0; r < rows; ++r) {
        float* cell = out + r * stride + lane;
        Vec y = Vec::Load(acc + r * kPanelLanes + lane) + b;
        if (add) y = LoadAny(cell, DType::kF32, 0, n) + y;
        StoreAny(y, cell, DType::kF32, 0, n);
      }
    }
  }

  static void StoreInt8(const Int8StoreArgs& a) {
    for (int lane = 0; lane < a.lanes; lane += 16) {
      const int n = LanesAt(lane, a.lanes);
      const Vec w = Vec::Load(a.w_scales + lane);
      const Vec b = a.bias == nullptr ? Vec::Zero() : Vec::LoadFirst(a.bias + lane, n);
      for (int r = 0; r < a.rows; ++r) {
        float* cell = a.out + r * a.stride + lane;
        const Vec sum =
            Vec::LoadDifference(a.acc + r * kPanelLanes + lane, kWeightZero * a.x_sums[r]);
        Vec y = sum * (Vec::Set(a.x_scales[r]) * w);
        if (a.bias != nullptr) y = y + b;
        if (a.add) y = LoadAny(cell, DType::kF32, 0, n) + y;
        StoreAny(y, cell, DType::kF32, 0, n);
      }
    }
  }

  static void UnpackInt4(const std::byte* packed, int64_t rows, uint32_t* out) {
    for (int64_t i = 0; i < rows; ++i, packed += kPanelLanes * 4, out += 2 * kPanelLanes) {
      uint32_t eight[kPanelLanes];
      __builtin_memcpy(eight, packed, sizeof eight);
      for (int lane = 0; lane < kPanelLanes; ++lane) {
        out[lane] = eight[lane] & 0x0f0f0f0fu;
        out[kPanelLanes + lane] = eight[lane] >> 4 & 0x0f0f0f0fu;
      }
    }
  }

  // Every whole number here is below 2^24: f32 has them exactly.
  static void FoldInt4(const Int4FoldArgs& a) {
    for (int lane = 0; lane < kPanelLanes; lane += 16) {
      const Vec scale = Vec::Load(a.scales + lane);
      const Vec zero = Vec::LoadInt8(reinterpret_cast<const std::byte*>(a.zeros + lane));
      for (int r = 0; r < a.rows; ++r) {
        const Vec x_sum = Vec::Set(float(a.x_sums[r * a.x_sums_stride]));
        const Vec acc = Vec::LoadDifference(a.acc + r * kPanelLanes + lane, 0);
        float* total = a.total + r * kPanelLanes + lane;
        const Vec before = a.first ? Vec::Zero() : Vec::Load(total);
        Vec::Fma(acc - zero * x_sum, scale, before).Store(total);
      }
    }
  }

  // In f32, which is exact: kInt8ColsMax times 127 is below 2^24.
  static int32_t SumInt8(const std::byte* x, int64_t n) {
    Vec sum = Vec::Zero();
    for (int64_t i = 0; i < n; i += 16) {
      alignas(16) std::byte part[16] = {};
      const std::byte* at = x + i;
      if (n - i < 16) {
        __builtin_memcpy(part, at, size_t(n - i));
        at = part;
      }
      sum = sum + Vec::LoadInt8(at);
    }
    return int32_t(Vec::Sum(sum));
  }

  // As StoreInt8Row(), to the bit.
  static void QuantizeRow(const float* x, int32_t n, std::byte* out) {
    Vec magnitude = Vec::Zero();
    for (int32_t i = 0; i < n; i += 16) {
      magnitude = Vec::MaxMagnitude(magnitude, LoadAny(x, DType::kF32, i, LanesAt(i, n)));
    }
    const uint32_t bits = Vec::LargestBits(magnitude);
    const bool is_finite = bits < 0x7f800000u;
    const float largest = __builtin_bit_cast(float, bits);
    const bool is_zero = largest < kQuantizedSmallest;
    const float scale = is_finite ? (is_zero ? 0 : largest / kInt8Largest) : __builtin_nanf("");
    const size_t scale_offset = size_t(n + 3) / 4 * 4;
    __builtin_memset(out + n, 0, scale_offset - size_t(n));
    __builtin_memcpy(out + scale_offset, &scale, sizeof scale);
    if (is_zero || !is_finite) {
      __builtin_memset(out, 0, size_t(n));
      return;
    }
    const Vec inverse = Vec::Set(kInt8Largest / largest);
    for (int32_t i = 0; i < n; i += 16) {
      const int lanes = LanesAt(i, n);
      (LoadAny(x, DType::kF32, i, lanes) * inverse).StoreInt8(out + i, lanes);
    }
  }

  static void RmsNorm(const float* x, const float* weight, float epsilon, int32_t n, DType dtype,
                      void* out) {
    Vec even = Vec::Zero(), odd = Vec::Zero();
    for (int32_t i = 0; i < n; i += 32) {
      const Vec a = LoadAny(x, DType::kF32, i, LanesAt(i, n));
      even = Vec::Fma(a, a, even);
      if (i + 16 >= n) break;
      const Vec b = LoadAny(x, DType::kF32, i + 16, LanesAt(i + 16, n));
      odd = Vec::Fma(b, b, odd);
    }
    const float mean = Vec::Sum(even + odd) / float(n);
    const Vec scale = Vec::Set(1.0f / __builtin_sqrtf(mean + epsilon));
    for (int32_t i = 0; i < n; i += 16) {
      const int lanes = LanesAt(i, n);
      const Vec w = LoadAny(weight, DType::kF32, i, lanes);
      StoreAny(LoadAny(x, DType::kF32, i, lanes) * scale * w, out, dtype, i, lanes);
    }
  }

  static void SiluMul(const float* gate, const float* up, int32_t n, DType dtype, void* out) {
    for (int32_t i = 0; i < n; i += 16) {
      const int lanes = LanesAt(i, n);
      const Vec g = LoadAny(gate, DType::kF32, i, lanes);
      const Vec u = LoadAny(up, DType::kF32, i, lanes);
      StoreAny(g / (Vec::Set(1.0f) + Exp(Vec::Zero() - g)) * u, out, dtype, i, lanes);
    }
  }

  static void Rotate(const float* head, const float* cos, const float* sin, int32_t half,
                     DType dtype, void* out) {
    for (int32_t i = 0; i < half; i += 16) {
      const int lanes = LanesAt(i, half);
      const Vec a = LoadAny(head, DType::kF32, i, lanes);
      const Vec b = LoadAny(head, DType::kF32, i + half, lanes);
      const Vec c = LoadAny(cos, DType::kF32, i, lanes);
      const Vec s = LoadAny(sin, DType::kF32, i, lanes);
      StoreAny(a * c - b * s, out, dtype, i, lanes);
      StoreAny(b * c + a * s, out, dtype, i + half, lanes);
    }
  }

  static void StoreRow(const float* x, int32_t n, DType dtype, void* out) {
    for (int32_t i = 0; i < n; i += 16) {
      StoreAny(LoadAny(x, DType::kF32, i, LanesAt(i, n)), out, dtype, i, LanesAt(i, n));
    }
  }

  // First the value, then where it stands first: two streams, no bookkeeping of lanes.
  static int32_t LargestLogit(const float* logits, int32_t n) {
    constexpr float kLowest = -__builtin_inff();
    Vec m0 = Vec::Set(kLowest), m1 = m0;
    int32_t i = 0;
    for (; i + 32 <= n; i += 32) {
      m0 = Vec::Max(Vec::Load(logits + i), m0);  // the second operand survives a NaN
      m1 = Vec::Max(Vec::Load(logits + i + 16), m1);
    }
    float largest = Vec::Largest(Vec::Max(m0, m1));
    for (; i < n; ++i) {
      if (logits[i] > largest) largest = logits[i];
    }
    for (i = 0; i < n; ++i) {
      if (logits[i] == largest) return i;
    }
    return 0;
  }

  static void WidenQuantized(const std::byte* from, DType dtype, int64_t n, DType to, void* out) {
    for (int64_t i = 0; i < n; i += 16) {
      const int lanes = LanesAt(i, n);
      alignas(16) std::byte part[16] = {};
      const std::byte* at = from + i;
      if (lanes < 16) {
        __builtin_memcpy(part, at, size_t(lanes));
        at = part;
      }
      StoreAny(dtype == DType::kFp8 ? Vec::LoadFp8(at) : Vec::LoadInt8(at), out, to, i, lanes);
    }
  }

  static void PackKeys(const std::byte* keys, DType dtype, bool pairs, int tokens, int32_t dim,
                       uint32_t* panel) {
    if (dtype == DType::kF32 || pairs) {
      const int32_t dwords = pairs ? dim / 2 : dim;
      for (int32_t d = 0; d < dwords; d += 16) {
        Vec::Transpose(keys + d * 4, size_t(dwords) * 4, tokens, LanesAt(d, dwords),
                       panel + d * kPanelLanes, kPanelLanes);
      }
      return;
    }
    alignas(64) float square[16][16];
    const auto* rows = reinterpret_cast<const uint16_t*>(keys);
    for (int32_t d = 0; d < dim; d += 16) {
      for (int t = 0; t < tokens; ++t) {
        LoadAny(rows + t * dim, DType::kBF16, d, LanesAt(d, dim)).Store(square[t]);
      }
      Vec::Transpose(reinterpret_cast<const std::byte*>(square), 64, tokens, 16,
                     panel + d * kPanelLanes, kPanelLanes);
    }
  }

  static void PackValues(const std::byte* values, DType dtype, bool pairs, int tokens, int32_t dim,
                         uint32_t* panels) {
    constexpr int kPanelDwords = kKvTileTokens * kPanelLanes;
    for (int32_t d = 0; d < dim; d += kPanelLanes) {
      const int n = dim - d < kPanelLanes ? dim - d : kPanelLanes;
      if (pairs) {
        PackValuePairs(reinterpret_cast<const uint16_t*>(values) + d, tokens, dim, n, panels);
        panels += kPanelDwords / 2;
      } else {
        PackValueRows(values, dtype, tokens, dim, d, n, reinterpret_cast<float*>(panels));
        panels += kPanelDwords;
      }
    }
  }

  static BATON_INLINE void PackValuePairs(const uint16_t* rows, int tokens, int32_t dim, int n,
                                          uint32_t* panel) {
    if (tokens == 16 && n == kPanelLanes) [[likely]] {
      for (int t = 0; t < 16; t += 2, rows += 2 * dim, panel += kPanelLanes) {
        Vec::InterleavePairs(rows, rows + dim, panel);
      }
      return;
    }
    for (int t = 0; t < 16; t += 2, panel += kPanelLanes) {
      Vec::InterleavePairs(t < tokens ? rows + t * dim : nullptr,
                           t + 1 < tokens ? rows + (t + 1) * dim : nullptr, n, panel);
    }
  }

  static BATON_INLINE void PackValueRows(const std::byte* values, DType dtype, int tokens,
                                         int32_t dim, int32_t d, int n, float* panel) {
    for (int t = 0; t < 16; ++t, panel += kPanelLanes) {
      const int present = t < tokens ? n : 0;
      for (int lane = 0; lane < kPanelLanes; lane += 16) {
        const int lanes = present > lane ? LanesAt(lane, present) : 0;
        const Vec v =
            lanes == 0 ? Vec::Zero() : LoadAny(values, dtype, int64_t{t} * dim + d + lane, lanes);
        v.Store(panel + lane);
      }
    }
  }

  // 2^y within 2 ulp for y <= 0; exactly 1 at 0; 0 for -inf.
  static BATON_INLINE Vec Exp2(Vec y) {
    y = Vec::Max(Vec::Set(-200.0f), y);
    const Vec n = Vec::Round(y);
    const Vec r = y - n;
    Vec p = Vec::Set(1.535336188319500e-4f);
    p = Vec::Fma(p, r, Vec::Set(1.339887440266574e-3f));
    p = Vec::Fma(p, r, Vec::Set(9.618437357674640e-3f));
    p = Vec::Fma(p, r, Vec::Set(5.550332471162809e-2f));
    p = Vec::Fma(p, r, Vec::Set(2.402264791363012e-1f));
    p = Vec::Fma(p, r, Vec::Set(6.931472028550421e-1f));
    return Vec::TimesPowerOfTwo(Vec::Fma(p, r, Vec::Set(1.0f)), n);
  }

  // s[j]: scores of tokens 16 j .. 16 j + 15, -inf outside [begin, end).
  static BATON_INLINE void LoadScores(const SoftmaxTileArgs& a, int row, Vec s[4]) {
    BATON_UNROLL
    for (int j = 0; j < 4; ++j) {
      s[j] = Vec::Load(a.scores[j / 2] + row * kPanelLanes + j % 2 * 16);
      if (a.key_scales != nullptr) s[j] = s[j] * Vec::Load(a.key_scales + j * 16);
    }
    if (a.begin[row] == 0 && a.end[row] == kKvTileTokens) [[likely]]
      return;
    BATON_UNROLL
    for (int j = 0; j < 4; ++j) {
      const int begin = a.begin[row] - 16 * j, end = a.end[row] - 16 * j;
      s[j] = Vec::KeepRange(s[j],
                            begin < 0    ? 0
                            : begin > 16 ? 16
                                         : begin,
                            end < 0    ? 0
                            : end > 16 ? 16
                                       : end,
                            Vec::Set(-__builtin_inff()));
    }
  }

  // Scores become weights 2^((score - largest) * unit), unit = scale * log2(e).
  static void SoftmaxTile(const SoftmaxTileArgs& a) {
    alignas(64) float before[16] = {}, after[16] = {}, factor[16];
    const Vec unit = Vec::Set(a.scale * 1.44269504f);
    for (int row = 0; row < a.rows; ++row) {
      Vec s[4];
      LoadScores(a, row, s);
      const float m = Vec::Largest(Vec::Max(Vec::Max(s[0], s[1]), Vec::Max(s[2], s[3])));
      const float old = a.largest[row];
      a.largest[row] = m > old ? m : old;
      const bool blind = a.largest[row] == -__builtin_inff();  // the row has seen nothing yet
      before[row] = blind ? 0.0f : old;
      after[row] = blind ? 0.0f : a.largest[row];
    }
    Exp2((Vec::Load(before) - Vec::Load(after)) * unit).Store(factor);
    for (int row = 0; row < a.rows; ++row) {
      Vec s[4];
      LoadScores(a, row, s);
      const Vec shift = Vec::Set(after[row]) * unit;
      BATON_UNROLL
      for (int j = 0; j < 4; ++j) s[j] = Exp2(Vec::FmaMinus(s[j], unit, shift));
      a.correction[row] = factor[row];
      float* sum = a.sum + row * 16;
      Vec::Fma(Vec::Load(sum), Vec::Set(factor[row]), (s[0] + s[1]) + (s[2] + s[3])).Store(sum);
      void* weights = static_cast<std::byte*>(a.weights) + row * 256;
      BATON_UNROLL
      for (int j = 0; j < 4; ++j) {
        if (a.value_scales != nullptr) s[j] = s[j] * Vec::Load(a.value_scales + j * 16);
        StoreAny(s[j], weights, a.bf16_weights ? DType::kBF16 : DType::kF32, j * 16, 16);
      }
    }
  }

  static void ScaleTile(float* acc, int rows, const float* factor) {
    for (int r = 0; r < rows; ++r, acc += kPanelLanes) {
      if (factor[r] == 1.0f) continue;
      (Vec::Load(acc) * Vec::Set(factor[r])).Store(acc);
      (Vec::Load(acc + 16) * Vec::Set(factor[r])).Store(acc + 16);
    }
  }

  static void MergeStates(float* into, const float* from, int rows, int panels, float scale) {
    alignas(64) float into_factor[16], from_factor[16];
    const Vec unit = Vec::Set(scale * 1.44269504f);
    const Vec mine = Vec::Load(into), theirs = Vec::Load(from);
    const Vec largest = Vec::Max(mine, theirs);
    Exp2((mine - largest) * unit).Store(into_factor);
    Exp2((theirs - largest) * unit).Store(from_factor);
    for (int r = 0; r < rows; ++r) {
      if (from[r] == -__builtin_inff()) continue;
      const bool blind = into[r] == -__builtin_inff();
      const float a = blind ? 0.0f : into_factor[r], b = blind ? 1.0f : from_factor[r];
      const int sums = 16 + r * 16, results = 16 + kTileRowsMax * 16 + r * kPanelLanes;
      Join(into + sums, from + sums, a, b);
      for (int panel = 0; panel < panels; ++panel) {
        const int at = results + panel * kTileRowsMax * kPanelLanes;
        Join(into + at, from + at, a, b);
        Join(into + at + 16, from + at + 16, a, b);
      }
      into[r] = into[r] > from[r] ? into[r] : from[r];
    }
  }

  static BATON_INLINE void Join(float* into, const float* from, float a, float b) {
    Vec::Fma(Vec::Load(into), Vec::Set(a), Vec::Load(from) * Vec::Set(b)).Store(into);
  }

  static void DivideRow(const float* acc, const float* sums, int32_t dim, DType dtype, void* out) {
    const Vec divisor = Vec::Set(Vec::Sum(Vec::Load(sums)));
    for (int32_t d = 0; d < dim; d += 16) {
      const int at = d / kPanelLanes * kTileRowsMax * kPanelLanes + d % kPanelLanes;
      StoreAny(Vec::Load(acc + at) / divisor, out, dtype, d, LanesAt(d, dim));
    }
  }

  static constexpr IsaOps Table(const char* name, int rows_at_once, TileFn f32_packed,
                                TileFn f32_rows) {
    return {.name = name,
            .bf16_dot = false,
            .rows_at_once = rows_at_once,
            .tile_f32_packed = f32_packed,
            .tile_f32_rows = f32_rows,
            .tile_bf16_packed = nullptr,
            .tile_bf16_rows = nullptr,
            .tile_f32_pairs = nullptr,
            .tile_int8 = nullptr,
            .tile_int4 = nullptr,
            .unpack_int4 = UnpackInt4,
            .fold_int4 = FoldInt4,
            .widen_panel = WidenPanel,
            .pack_rows = PackRows,
            .store_tile = StoreTile,
            .store_int8 = StoreInt8,
            .sum_int8 = SumInt8,
            .quantize_row = QuantizeRow,
            .rms_norm = RmsNorm,
            .silu_mul = SiluMul,
            .rotate = Rotate,
            .store_row = StoreRow,
            .largest_logit = LargestLogit,
            .widen_quantized = WidenQuantized,
            .pack_keys = PackKeys,
            .pack_values = PackValues,
            .softmax_tile = SoftmaxTile,
            .scale_tile = ScaleTile,
            .merge_states = MergeStates,
            .divide_row = DivideRow};
  }
};

}  // namespace baton::kernels
