#include "kernels/cpu/isa_ops.h"
#include "kernels/cpu/tile_asm.h"

// AVX-512 with VDPBF16PS: acc += x[k] w[k] + x[k + 1] w[k + 1] on pairs of bf16, one instruction.
namespace baton::kernels {
namespace {

BATON_TILE_PACKED(Bf16Packed, BATON_TILE_BF16)
BATON_TILE_ROWS64(Bf16Rows, BATON_TILE_BF16)

IsaOps WithBf16Dot() {
  IsaOps ops = *Avx512Ops();
  ops.name = "avx512_bf16";
  ops.bf16_dot = true;
  ops.tile_bf16_packed = Bf16Packed;
  ops.tile_bf16_rows = Bf16Rows;
  return ops;
}

}  // namespace

const IsaOps* Avx512Bf16Ops() {
  static const IsaOps ops = WithBf16Dot();
  return &ops;
}

}  // namespace baton::kernels
