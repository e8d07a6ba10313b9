#pragma once

#include "kernels/cpu/isa_ops.h"

// The AVX-512 micro-kernel: ROWS (1 .. 12) rows of x times one panel of 32 outputs, in assembler
// because gcc 12 spills half of 24 accumulators written as intrinsics. f32, bf16 and bytes differ
// in the multiply-add: BATON_TILE_FMA, _BF16 or _VNNI of (panel, x, accumulator).
//
//   zmm0 .. zmm23   accumulators, row r in 2r (lanes 0-15) and 2r + 1 (lanes 16-31)
//   zmm24, zmm25    the panel's k-th row      zmm26, zmm27   x[row][k], broadcast
//
// Per k and row: one 4-byte broadcast load and two multiply-adds; each accumulator is one chain
// over rising k.

// clang-format off: columns of assembler
#define BATON_TILE_FMA(W, X, A)  "vfmadd231ps %%zmm" #W ", %%zmm" #X ", %%zmm" #A "\n\t"
#define BATON_TILE_BF16(W, X, A) "vdpbf16ps %%zmm" #W ", %%zmm" #X ", %%zmm" #A "\n\t"
// The operand in the middle is the one without a sign.
#define BATON_TILE_VNNI(W, X, A) "vpdpbusd %%zmm" #X ", %%zmm" #W ", %%zmm" #A "\n\t"

#define BATON_TILE_ROW(OP, RS, KS, U, R, A0, A1, B)                  \
  "vpbroadcastd " #RS "*" #R "+" #KS "*" #U "(%[x]), %%zmm" #B "\n\t" \
  OP(24, B, A0) OP(25, B, A1)

#define BATON_TILE_ROWS_1(OP, RS, KS, U) BATON_TILE_ROW(OP, RS, KS, U, 0, 0, 1, 26)
#define BATON_TILE_ROWS_2(OP, RS, KS, U) \
  BATON_TILE_ROWS_1(OP, RS, KS, U) BATON_TILE_ROW(OP, RS, KS, U, 1, 2, 3, 27)
#define BATON_TILE_ROWS_3(OP, RS, KS, U) \
  BATON_TILE_ROWS_2(OP, RS, KS, U) BATON_TILE_ROW(OP, RS, KS, U, 2, 4, 5, 26)
#define BATON_TILE_ROWS_4(OP, RS, KS, U) \
  BATON_TILE_ROWS_3(OP, RS, KS, U) BATON_TILE_ROW(OP, RS, KS, U, 3, 6, 7, 27)
#define BATON_TILE_ROWS_5(OP, RS, KS, U) \
  BATON_TILE_ROWS_4(OP, RS, KS, U) BATON_TILE_ROW(OP, RS, KS, U, 4, 8, 9, 26)
#define BATON_TILE_ROWS_6(OP, RS, KS, U) \
  BATON_TILE_ROWS_5(OP, RS, KS, U) BATON_TILE_ROW(OP, RS, KS, U, 5, 10, 11, 27)
#define BATON_TILE_ROWS_7(OP, RS, KS, U) \
  BATON_TILE_ROWS_6(OP, RS, KS, U) BATON_TILE_ROW(OP, RS, KS, U, 6, 12, 13, 26)
#define BATON_TILE_ROWS_8(OP, RS, KS, U) \
  BATON_TILE_ROWS_7(OP, RS, KS, U) BATON_TILE_ROW(OP, RS, KS, U, 7, 14, 15, 27)
#define BATON_TILE_ROWS_9(OP, RS, KS, U) \
  BATON_TILE_ROWS_8(OP, RS, KS, U) BATON_TILE_ROW(OP, RS, KS, U, 8, 16, 17, 26)
#define BATON_TILE_ROWS_10(OP, RS, KS, U) \
  BATON_TILE_ROWS_9(OP, RS, KS, U) BATON_TILE_ROW(OP, RS, KS, U, 9, 18, 19, 27)
#define BATON_TILE_ROWS_11(OP, RS, KS, U) \
  BATON_TILE_ROWS_10(OP, RS, KS, U) BATON_TILE_ROW(OP, RS, KS, U, 10, 20, 21, 26)
#define BATON_TILE_ROWS_12(OP, RS, KS, U) \
  BATON_TILE_ROWS_11(OP, RS, KS, U) BATON_TILE_ROW(OP, RS, KS, U, 11, 22, 23, 27)

#define BATON_TILE_STEP(OP, ROWS, RS, KS, U)                       \
  "vmovups 128*" #U "(%[w]), %%zmm24\n\t"                          \
  "vmovups 128*" #U "+64(%[w]), %%zmm25\n\t"                       \
  "prefetcht1 (%[pf])\n\t"                                         \
  "prefetcht1 (%[pf], %[pfs])\n\t"                                 \
  "lea (%[pf], %[pfs], 2), %[pf]\n\t" BATON_TILE_ROWS_##ROWS(OP, RS, KS, U)

#define BATON_TILE_LOOP(OP, ROWS, RS, KS)                                               \
  "test %[k4], %[k4]\n\t"                                                               \
  "jz 2f\n\t"                                                                           \
  ".p2align 5\n"                                                                        \
  "1:\n\t" BATON_TILE_STEP(OP, ROWS, RS, KS, 0) BATON_TILE_STEP(OP, ROWS, RS, KS, 1)    \
  BATON_TILE_STEP(OP, ROWS, RS, KS, 2) BATON_TILE_STEP(OP, ROWS, RS, KS, 3)             \
  "add $4*" #KS ", %[x]\n\t"                                                            \
  "add $512, %[w]\n\t"                                                                  \
  "dec %[k4]\n\t"                                                                       \
  "jnz 1b\n"                                                                            \
  "2:\n\t"                                                                              \
  "test %[k1], %[k1]\n\t"                                                               \
  "jz 4f\n"                                                                             \
  "3:\n\t" BATON_TILE_STEP(OP, ROWS, RS, KS, 0)                                         \
  "add $" #KS ", %[x]\n\t"                                                              \
  "add $128, %[w]\n\t"                                                                  \
  "dec %[k1]\n\t"                                                                       \
  "jnz 3b\n"                                                                            \
  "4:\n\t"

#define BATON_TILE_FUNCTION(NAME, OP, ROWS, RS, KS)                                       \
  static void NAME##ROWS(const TileArgs& a) {                                             \
    const void *x = a.x, *w = a.panel, *pf = a.prefetch;                                  \
    int64_t k4 = a.k / 4, k1 = a.k % 4;                                                   \
    float* acc = a.acc;                                                                   \
    asm volatile(                                                                         \
        "test %b[first], %b[first]\n\t"                                                   \
        "jnz 5f\n\t" BATON_TILE_EACH_##ROWS(BATON_TILE_LOAD) "jmp 6f\n"                   \
        "5:\n\t" BATON_TILE_EACH_##ROWS(BATON_TILE_ZERO) "6:\n\t"                         \
        BATON_TILE_LOOP(OP, ROWS, RS, KS) BATON_TILE_EACH_##ROWS(BATON_TILE_STORE) "vzeroupper\n\t" \
        : [x] "+r"(x), [w] "+r"(w), [pf] "+r"(pf), [k4] "+r"(k4), [k1] "+r"(k1)           \
        : [acc] "r"(acc), [first] "q"(a.first), [pfs] "r"(a.prefetch_step)                \
        : "memory", "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", \
          "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15", "xmm16",  \
          "xmm17", "xmm18", "xmm19", "xmm20", "xmm21", "xmm22", "xmm23", "xmm24",         \
          "xmm25", "xmm26", "xmm27");                                                     \
  }

#define BATON_TILE_LOAD(R, A0, A1)                 \
  "vmovups 128*" #R "(%[acc]), %%zmm" #A0 "\n\t"   \
  "vmovups 128*" #R "+64(%[acc]), %%zmm" #A1 "\n\t"
#define BATON_TILE_ZERO(R, A0, A1)                              \
  "vpxord %%zmm" #A0 ", %%zmm" #A0 ", %%zmm" #A0 "\n\t"         \
  "vpxord %%zmm" #A1 ", %%zmm" #A1 ", %%zmm" #A1 "\n\t"
#define BATON_TILE_STORE(R, A0, A1)                \
  "vmovups %%zmm" #A0 ", 128*" #R "(%[acc])\n\t"   \
  "vmovups %%zmm" #A1 ", 128*" #R "+64(%[acc])\n\t"

#define BATON_TILE_EACH_1(F) F(0, 0, 1)
#define BATON_TILE_EACH_2(F) BATON_TILE_EACH_1(F) F(1, 2, 3)
#define BATON_TILE_EACH_3(F) BATON_TILE_EACH_2(F) F(2, 4, 5)
#define BATON_TILE_EACH_4(F) BATON_TILE_EACH_3(F) F(3, 6, 7)
#define BATON_TILE_EACH_5(F) BATON_TILE_EACH_4(F) F(4, 8, 9)
#define BATON_TILE_EACH_6(F) BATON_TILE_EACH_5(F) F(5, 10, 11)
#define BATON_TILE_EACH_7(F) BATON_TILE_EACH_6(F) F(6, 12, 13)
#define BATON_TILE_EACH_8(F) BATON_TILE_EACH_7(F) F(7, 14, 15)
#define BATON_TILE_EACH_9(F) BATON_TILE_EACH_8(F) F(8, 16, 17)
#define BATON_TILE_EACH_10(F) BATON_TILE_EACH_9(F) F(9, 18, 19)
#define BATON_TILE_EACH_11(F) BATON_TILE_EACH_10(F) F(10, 20, 21)
#define BATON_TILE_EACH_12(F) BATON_TILE_EACH_11(F) F(11, 22, 23)

// Defines NAME(const TileArgs&) for x of either layout. kPacked: rows 4 bytes and ks 4 * ROWS bytes apart;
// kRows64: rows 256 bytes and ks 4 bytes apart.
#define BATON_TILE_DISPATCH(NAME)                                                             \
  static void NAME(const TileArgs& args) {                                                    \
    static constexpr TileFn kByRows[] = {NAME##1, NAME##2, NAME##3,  NAME##4,  NAME##5,  NAME##6, \
                                         NAME##7, NAME##8, NAME##9, NAME##10, NAME##11, NAME##12}; \
    kByRows[args.rows - 1](args);                                                             \
  }

#define BATON_TILE_PACKED(NAME, OP)                                                          \
  BATON_TILE_FUNCTION(NAME, OP, 1, 4, 4) BATON_TILE_FUNCTION(NAME, OP, 2, 4, 8)              \
  BATON_TILE_FUNCTION(NAME, OP, 3, 4, 12) BATON_TILE_FUNCTION(NAME, OP, 4, 4, 16)            \
  BATON_TILE_FUNCTION(NAME, OP, 5, 4, 20) BATON_TILE_FUNCTION(NAME, OP, 6, 4, 24)            \
  BATON_TILE_FUNCTION(NAME, OP, 7, 4, 28) BATON_TILE_FUNCTION(NAME, OP, 8, 4, 32)            \
  BATON_TILE_FUNCTION(NAME, OP, 9, 4, 36) BATON_TILE_FUNCTION(NAME, OP, 10, 4, 40)           \
  BATON_TILE_FUNCTION(NAME, OP, 11, 4, 44) BATON_TILE_FUNCTION(NAME, OP, 12, 4, 48)          \
  BATON_TILE_DISPATCH(NAME)

#define BATON_TILE_ROWS64(NAME, OP)                                                          \
  BATON_TILE_FUNCTION(NAME, OP, 1, 256, 4) BATON_TILE_FUNCTION(NAME, OP, 2, 256, 4)          \
  BATON_TILE_FUNCTION(NAME, OP, 3, 256, 4) BATON_TILE_FUNCTION(NAME, OP, 4, 256, 4)          \
  BATON_TILE_FUNCTION(NAME, OP, 5, 256, 4) BATON_TILE_FUNCTION(NAME, OP, 6, 256, 4)          \
  BATON_TILE_FUNCTION(NAME, OP, 7, 256, 4) BATON_TILE_FUNCTION(NAME, OP, 8, 256, 4)          \
  BATON_TILE_FUNCTION(NAME, OP, 9, 256, 4) BATON_TILE_FUNCTION(NAME, OP, 10, 256, 4)         \
  BATON_TILE_FUNCTION(NAME, OP, 11, 256, 4) BATON_TILE_FUNCTION(NAME, OP, 12, 256, 4)        \
  BATON_TILE_DISPATCH(NAME)
