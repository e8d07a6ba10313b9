#include "kernels/cpu/isa_ops.h"
#include "kernels/cpu/tile_asm.h"

// AVX-512 with VPDPBUSD: acc += the sum of four products of a byte of the panel, without a sign,
// and one of x, with it.
namespace baton::kernels {
namespace {

BATON_TILE_PACKED(Int8Packed, BATON_TILE_VNNI)

}  // namespace

TileFn VnniTile() { return Int8Packed; }

}  // namespace baton::kernels
