#pragma once

#include "kernels/cpu/isa_ops.h"

// The AVX2 micro-kernels, in assembler because gcc 12 spills half of the accumulators. A tile is
// cut into parts whose 4 to 12 chains hide the latency of a multiply-add: one or two rows take all
// 32 lanes of the panel at once, three to six rows half of them.
//
//   ymm0 .. ymm11    accumulators       ymm12, ymm13 (ymm8 .. ymm11 of all lanes)  the panel's row
//   ymm14            x[row], broadcast  ymm15  what keeps the odd one of two bf16
//
// A panel is f32, or pairs of bf16, which are widened on the way: the even k, then the odd one, as
// one chain.
namespace baton::kernels {

struct Avx2Part {
  const float* x;     // row after row, `row step` floats apart
  int64_t k_step;     // bytes from one k of x to the next
  const uint32_t* w;  // [steps][32] dwords
  int64_t steps;
  float* acc;         // [rows][32]
  bool first;         // start from 0
  const void* ahead;  // fetched meanwhile, two lines per step
  int64_t ahead_step;
};

// clang-format off: columns of assembler
#define BATON_PART_ROW(RS, R, W0, W1, A0, A1)                   \
  "vbroadcastss " #RS "*" #R "(%[x]), %%ymm14\n\t"              \
  "vfmadd231ps %%ymm" #W0 ", %%ymm14, %%ymm" #A0 "\n\t"         \
  "vfmadd231ps %%ymm" #W1 ", %%ymm14, %%ymm" #A1 "\n\t"
#define BATON_PART_WIDE_ROW(RS, R, A0, A1, A2, A3)              \
  BATON_PART_ROW(RS, R, 8, 9, A0, A1)                           \
  "vfmadd231ps %%ymm10, %%ymm14, %%ymm" #A2 "\n\t"              \
  "vfmadd231ps %%ymm11, %%ymm14, %%ymm" #A3 "\n\t"

#define BATON_PART_ROWS_1(RS) BATON_PART_WIDE_ROW(RS, 0, 0, 1, 2, 3)
#define BATON_PART_ROWS_2(RS) BATON_PART_ROWS_1(RS) BATON_PART_WIDE_ROW(RS, 1, 4, 5, 6, 7)
#define BATON_PART_ROWS_3(RS) \
  BATON_PART_ROW(RS, 0, 12, 13, 0, 1) BATON_PART_ROW(RS, 1, 12, 13, 2, 3) BATON_PART_ROW(RS, 2, 12, 13, 4, 5)
#define BATON_PART_ROWS_4(RS) BATON_PART_ROWS_3(RS) BATON_PART_ROW(RS, 3, 12, 13, 6, 7)
#define BATON_PART_ROWS_5(RS) BATON_PART_ROWS_4(RS) BATON_PART_ROW(RS, 4, 12, 13, 8, 9)
#define BATON_PART_ROWS_6(RS) BATON_PART_ROWS_5(RS) BATON_PART_ROW(RS, 5, 12, 13, 10, 11)

// Every accumulator of a part with its place in [rows][32].
#define BATON_PART_EACH_1(F) F(0, 0) F(1, 32) F(2, 64) F(3, 96)
#define BATON_PART_EACH_2(F) BATON_PART_EACH_1(F) F(4, 128) F(5, 160) F(6, 192) F(7, 224)
#define BATON_PART_EACH_3(F) F(0, 0) F(1, 32) F(2, 128) F(3, 160) F(4, 256) F(5, 288)
#define BATON_PART_EACH_4(F) BATON_PART_EACH_3(F) F(6, 384) F(7, 416)
#define BATON_PART_EACH_5(F) BATON_PART_EACH_4(F) F(8, 512) F(9, 544)
#define BATON_PART_EACH_6(F) BATON_PART_EACH_5(F) F(10, 640) F(11, 672)
#define BATON_PART_LOAD(A, AT) "vmovups " #AT "(%[acc]), %%ymm" #A "\n\t"
#define BATON_PART_ZERO(A, AT) "vxorps %%ymm" #A ", %%ymm" #A ", %%ymm" #A "\n\t"
#define BATON_PART_STORE(A, AT) "vmovups %%ymm" #A ", " #AT "(%[acc])\n\t"

// Every register of the panel's row with its place there.
#define BATON_PART_PANEL_1(F) F(8, 0) F(9, 32) F(10, 64) F(11, 96)
#define BATON_PART_PANEL_2(F) BATON_PART_PANEL_1(F)
#define BATON_PART_PANEL_3(F) F(12, 0) F(13, 32)
#define BATON_PART_PANEL_4(F) BATON_PART_PANEL_3(F)
#define BATON_PART_PANEL_5(F) BATON_PART_PANEL_3(F)
#define BATON_PART_PANEL_6(F) BATON_PART_PANEL_3(F)
#define BATON_PART_WHOLE(W, AT) "vmovups " #AT "(%[w]), %%ymm" #W "\n\t"
#define BATON_PART_EVEN(W, AT) \
  "vmovdqu " #AT "(%[w]), %%ymm" #W "\n\tvpslld $16, %%ymm" #W ", %%ymm" #W "\n\t"
#define BATON_PART_ODD(W, AT) "vpand " #AT "(%[w]), %%ymm15, %%ymm" #W "\n\t"

#define BATON_PART_FLOATS(ROWS, RS)                                                       \
  BATON_PART_PANEL_##ROWS(BATON_PART_WHOLE) BATON_PART_ROWS_##ROWS(RS) "add %[ks], %[x]\n\t"
#define BATON_PART_PAIRS(ROWS, RS)                                                        \
  BATON_PART_PANEL_##ROWS(BATON_PART_EVEN) BATON_PART_ROWS_##ROWS(RS) "add %[ks], %[x]\n\t" \
  BATON_PART_PANEL_##ROWS(BATON_PART_ODD) BATON_PART_ROWS_##ROWS(RS) "add %[ks], %[x]\n\t"

#define BATON_PART_FUNCTION(NAME, STEP, ROWS, RS)                                         \
  static void NAME##ROWS(const Avx2Part& p) {                                             \
    const void *x = p.x, *w = p.w, *pf = p.ahead;                                         \
    int64_t steps = p.steps;                                                              \
    asm volatile(                                                                         \
        "vpcmpeqd %%ymm15, %%ymm15, %%ymm15\n\t"                                          \
        "vpslld $16, %%ymm15, %%ymm15\n\t"                                                \
        "test %b[first], %b[first]\n\t"                                                   \
        "jnz 5f\n\t" BATON_PART_EACH_##ROWS(BATON_PART_LOAD) "jmp 6f\n"                   \
        "5:\n\t" BATON_PART_EACH_##ROWS(BATON_PART_ZERO) "6:\n\t"                         \
        "test %[steps], %[steps]\n\t"                                                     \
        "jz 2f\n\t"                                                                       \
        ".p2align 5\n"                                                                    \
        "1:\n\t"                                                                          \
        "prefetcht1 (%[pf])\n\t"                                                          \
        "prefetcht1 (%[pf], %[pfs])\n\t"                                                  \
        "lea (%[pf], %[pfs], 2), %[pf]\n\t" STEP(ROWS, RS)                                \
        "add $128, %[w]\n\t"                                                              \
        "dec %[steps]\n\t"                                                                \
        "jnz 1b\n"                                                                        \
        "2:\n\t" BATON_PART_EACH_##ROWS(BATON_PART_STORE) "vzeroupper\n\t"                \
        : [x] "+r"(x), [w] "+r"(w), [pf] "+r"(pf), [steps] "+r"(steps)                    \
        : [acc] "r"(p.acc), [first] "q"(p.first), [pfs] "r"(p.ahead_step), [ks] "r"(p.k_step) \
        : "memory", "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", \
          "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");          \
  }

// Defines NAME(const TileArgs&) for rows of x RS bytes apart.
#define BATON_AVX2_TILE(NAME, STEP, RS)                                                   \
  BATON_PART_FUNCTION(NAME, STEP, 1, RS) BATON_PART_FUNCTION(NAME, STEP, 2, RS)           \
  BATON_PART_FUNCTION(NAME, STEP, 3, RS) BATON_PART_FUNCTION(NAME, STEP, 4, RS)           \
  BATON_PART_FUNCTION(NAME, STEP, 5, RS) BATON_PART_FUNCTION(NAME, STEP, 6, RS)           \
  static void NAME(const TileArgs& args, int64_t k_step, int64_t steps) {                 \
    static constexpr Avx2PartFn kByRows[] = {NAME##1, NAME##2, NAME##3, NAME##4, NAME##5, NAME##6}; \
    RunAvx2Parts(args, kByRows, RS / 4, k_step, steps);                                   \
  }
// clang-format on

using Avx2PartFn = void (*)(const Avx2Part&);

constexpr int kAvx2RowsAtOnce = 2;  // of all lanes

// Parts of rows as equal as can be: the fewest rows have the fewest chains. Static, as all that is
// compiled for AVX2: the linker must not share it with files for any machine.
static void RunAvx2Parts(const TileArgs& a, const Avx2PartFn* by_rows, int64_t row_step,
                         int64_t k_step, int64_t steps) {
  const int parts = (a.rows + 5) / 6;
  const int passes = a.rows <= kAvx2RowsAtOnce ? 1 : 2 * parts;
  Avx2Part part{.x = nullptr,
                .k_step = k_step * 4,
                .w = nullptr,
                .steps = steps,
                .acc = nullptr,
                .first = a.first,
                .ahead = a.prefetch,
                .ahead_step = a.prefetch_step * a.k / (steps * passes)};
  for (int i = 0, row = 0; i < parts; ++i) {
    const int rows = a.rows * (i + 1) / parts - row;
    const int lanes = rows <= kAvx2RowsAtOnce ? kPanelLanes : kPanelLanes / 2;
    for (int lane = 0; lane < kPanelLanes; lane += lanes) {
      part.x = static_cast<const float*>(a.x) + row * row_step;
      part.w = static_cast<const uint32_t*>(a.panel) + lane;
      part.acc = a.acc + row * kPanelLanes + lane;
      by_rows[rows - 1](part);
      part.ahead = static_cast<const std::byte*>(part.ahead) + 2 * part.ahead_step * steps;
    }
    row += rows;
  }
}

}  // namespace baton::kernels
