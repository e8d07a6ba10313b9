#include "kernels/cpu/isa_ops.h"
#include "kernels/cpu/tile_asm.h"
#include "kernels/cpu/vec_avx512.h"

#include "kernels/cpu/ops_impl.h"

namespace baton::kernels {
namespace {

BATON_TILE_PACKED(F32Packed, BATON_TILE_FMA)
BATON_TILE_ROWS64(F32Rows, BATON_TILE_FMA)

constexpr IsaOps kOps = Ops<avx512::Vec>::Table("avx512", kTileRowsMax, F32Packed, F32Rows);

}  // namespace

const IsaOps* Avx512Ops() { return &kOps; }

}  // namespace baton::kernels
