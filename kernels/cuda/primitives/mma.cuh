#pragma once

#include "kernels/cuda/primitives/bf16.cuh"
#include "kernels/cuda/primitives/memory.cuh"

namespace baton::kernels::cuda {

// One warp's tensor-core product D = A B + D: A 16x16 and B 16x8 in bf16, D 16x8 in f32. Lane l
// holds, with row = l / 4 and pair = 2 * (l % 4), two elements in each word, the first low:
//   a[0] A[row][pair, +1]      a[1] A[row + 8][pair, +1]
//   a[2] A[row][pair + 8, +9]  a[3] A[row + 8][pair + 8, +9]
//   b[0] B[pair, +1][row]      b[1] B[pair + 8, +9][row]
//   d[0, 1] D[row][pair, +1]   d[2, 3] D[row + 8][pair, +1]
#if BATON_ON_DEVICE
BATON_DEVICE void MultiplyTile(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, "
      "{%8,%9}, {%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
#else
namespace internal {
struct TileOperands {
  uint32_t a[4];
  uint32_t b[2];
  float d[4];
};
inline float Half(uint32_t pair, uint32_t index) {
  return index % 2 == 0 ? LowToFloat(pair) : HighToFloat(pair);
}
// Which lane and word hold an element, read off the table above.
inline float ElementOfA(const emulation::WarpSlots& slots, uint32_t row, uint32_t k) {
  const TileOperands& lane = slots.In<TileOperands>(row % 8 * 4 + k % 8 / 2);
  return Half(lane.a[row / 8 + k / 8 * 2], k);
}
inline float ElementOfB(const emulation::WarpSlots& slots, uint32_t k, uint32_t column) {
  const TileOperands& lane = slots.In<TileOperands>(column * 4 + k % 8 / 2);
  return Half(lane.b[k / 8], k);
}
inline void MultiplyTileOfWarp(emulation::WarpSlots& slots) {
  for (uint32_t lane = 0; lane < kWarpLanes; ++lane) {
    for (uint32_t i = 0; i < 4; ++i) {
      const uint32_t row = lane / 4 + i / 2 * 8, column = lane % 4 * 2 + i % 2;
      float sum = slots.In<TileOperands>(lane).d[i];
      for (uint32_t k = 0; k < 16; ++k) {
        sum += ElementOfA(slots, row, k) * ElementOfB(slots, k, column);
      }
      slots.Out<float[4]>(lane)[i] = sum;
    }
  }
}
}  // namespace internal
BATON_DEVICE void MultiplyTile(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  const internal::TileOperands in = {
      {a[0], a[1], a[2], a[3]}, {b[0], b[1]}, {d[0], d[1], d[2], d[3]}};
  emulation::WarpMeets("MultiplyTile", &in, sizeof in, &d, sizeof d, internal::MultiplyTileOfWarp);
}
#endif

// ldmatrix: four 8x8 matrices of bf16 from shared memory. Lane l gives where row l % 8 of matrix
// l / 8 begins (a multiple of 16 bytes); out[m] of lane l is elements (2 * (l % 4), +1) of row
// l / 4 of matrix m, or of its transpose.
#if BATON_ON_DEVICE
BATON_DEVICE void LoadTiles(uint32_t (&out)[4], const Shared<Bf16>& from, size_t i) {
  const uint32_t address = static_cast<uint32_t>(__cvta_generic_to_shared(from.pointer(i)));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
               : "r"(address)
               : "memory");
}
BATON_DEVICE void LoadTilesTransposed(uint32_t (&out)[4], const Shared<Bf16>& from, size_t i) {
  const uint32_t address = static_cast<uint32_t>(__cvta_generic_to_shared(from.pointer(i)));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
               : "r"(address)
               : "memory");
}
#else
namespace internal {
struct TileRow {
  uint16_t bits[8];
};
template <bool transposed>
void LoadTilesOfWarp(emulation::WarpSlots& slots) {
  for (uint32_t lane = 0; lane < kWarpLanes; ++lane) {
    for (uint32_t m = 0; m < 4; ++m) {
      uint32_t pair = 0;
      for (uint32_t j = 0; j < 2; ++j) {
        const uint32_t row = transposed ? lane % 4 * 2 + j : lane / 4;
        const uint32_t column = transposed ? lane / 4 : lane % 4 * 2 + j;
        pair |= uint32_t{slots.In<TileRow>(m * 8 + row).bits[column]} << (16 * j);
      }
      slots.Out<uint32_t[4]>(lane)[m] = pair;
    }
  }
}
}  // namespace internal
BATON_DEVICE void LoadTiles(uint32_t (&out)[4], const Shared<Bf16>& from, size_t i) {
  internal::TileRow row = {};
  const Vec16 bytes = from.Load16(i);
  std::memcpy(row.bits, &bytes, 16);
  emulation::WarpMeets("LoadTiles", &row, sizeof row, &out, sizeof out,
                       internal::LoadTilesOfWarp<false>);
}
BATON_DEVICE void LoadTilesTransposed(uint32_t (&out)[4], const Shared<Bf16>& from, size_t i) {
  internal::TileRow row = {};
  const Vec16 bytes = from.Load16(i);
  std::memcpy(row.bits, &bytes, 16);
  emulation::WarpMeets("LoadTilesTransposed", &row, sizeof row, &out, sizeof out,
                       internal::LoadTilesOfWarp<true>);
}
#endif

}  // namespace baton::kernels::cuda
