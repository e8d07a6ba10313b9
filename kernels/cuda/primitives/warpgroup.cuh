#pragma once

#include "kernels/cuda/primitives/bf16.cuh"
#include "kernels/cuda/primitives/memory.cuh"
#include "kernels/cuda/primitives/warpgroup_asm.cuh"

#if !BATON_ON_DEVICE
#include "kernels/cuda/emulation/warpgroups.h"
#endif

// Products of a warpgroup, four warps in a row (wgmma, sm_90 alone): D += A B with A 64x16 and B
// 16xN in bf16, D 64xN in f32. Warp w of the group has rows 16 w and on; in them a lane's part of D
// is as in mma.cuh, tile by tile of eight columns. B, and A too or the registers of mma.cuh, lie in
// shared memory, in rows that are swizzled as SwizzledAddress() says.
//
//   BeginProducts(d)            what the threads wrote to d is seen by products
//   BeginProducts()             and when only products have written to it since
//   MultiplyGroup(d, …) …       ordered, not done: nobody touches d
//   CommitProducts()            the products since the last one are a group
//   WaitProducts<n>()           at most n groups are still under way
//   WaitProducts<n>(d)          and d, of a group that is not, may be touched
namespace baton::kernels::cuda {

// Rows of one swizzle's length (128, 64 or 32 bytes) that follow one another, from a place whose
// address is a multiple of eight of them.
struct SharedRows {
  uint32_t address;  // in shared memory, in bytes
  uint32_t row_bytes;

  // As an operand: sixteen inputs from `first_input` of rows that lie along K. They do not reach
  // beyond a row.
  BATON_DEVICE uint64_t AlongInputs(uint32_t first_input) const {
    return Descriptor(address + 2 * first_input, 16, 8 * row_bytes);
  }
  // Sixteen rows from `first_input`, a multiple of 8, that lie along N; what does not fit in a row
  // is in other rows `panel_bytes` further.
  BATON_DEVICE uint64_t AlongOutputs(uint32_t first_input, uint32_t panel_bytes) const {
    return Descriptor(address + first_input * row_bytes, panel_bytes, 8 * row_bytes);
  }

 private:
  BATON_DEVICE uint64_t Descriptor(uint32_t start, uint32_t leading, uint32_t stride) const {
    const uint64_t swizzle = row_bytes == 128 ? 1 : row_bytes == 64 ? 2 : 3;
    return uint64_t{(start & 0x3ffff) >> 4} | uint64_t{leading >> 4} << 16 |
           uint64_t{stride >> 4} << 32 | swizzle << 62;
  }
};

#if BATON_ON_DEVICE
BATON_DEVICE uint32_t AddressOf(const Shared<Bf16>& shared, uint32_t i) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(shared.pointer(i)));
}
// Keeps the compiler from moving what it does to d across.
template <uint32_t kTiles>
BATON_DEVICE void HoldRegisters(float (&d)[kTiles][4]) {
  BATON_UNROLL
  for (uint32_t n = 0; n < kTiles; ++n) {
    BATON_UNROLL
    for (uint32_t i = 0; i < 4; ++i) asm volatile("" : "+f"(d[n][i])::"memory");
  }
}
BATON_DEVICE void BeginProducts() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
template <uint32_t kTiles>
BATON_DEVICE void BeginProducts(float (&d)[kTiles][4]) {
  HoldRegisters(d);
  BeginProducts();
}
BATON_DEVICE void CommitProducts() {
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}
template <int kPending>
BATON_DEVICE void WaitProducts() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kPending) : "memory");
}
template <int kPending, uint32_t kTiles>
BATON_DEVICE void WaitProducts(float (&d)[kTiles][4]) {
  WaitProducts<kPending>();
  HoldRegisters(d);
}
// is_added false: D = A B.
template <uint32_t kTiles>
BATON_DEVICE void MultiplyGroup(float (&d)[kTiles][4], uint64_t a, uint64_t b, bool is_added) {
  internal::GroupProduct(d, a, b, is_added);
}
// A in registers, rows of B along N.
template <uint32_t kTiles>
BATON_DEVICE void MultiplyGroupByRows(float (&d)[kTiles][4], const uint32_t (&a)[4], uint64_t b,
                                      bool is_added) {
  internal::GroupProductByRows(d, a, b, is_added);
}
// Registers of a warpgroup that copies, for those that multiply.
template <int kRegisters>
BATON_DEVICE void GiveRegisters() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(kRegisters));
}
template <int kRegisters>
BATON_DEVICE void TakeRegisters() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(kRegisters));
}
#else
BATON_DEVICE uint32_t AddressOf(const Shared<Bf16>& shared, uint32_t i) {
  return uint32_t(shared.Offset(i));
}
BATON_DEVICE void BeginProducts() {}
template <uint32_t kTiles>
BATON_DEVICE void BeginProducts(float (&)[kTiles][4]) {}
BATON_DEVICE void CommitProducts() { emulation::BlockWarpgroups().Commit(); }
template <int kPending>
BATON_DEVICE void WaitProducts() {
  emulation::BlockWarpgroups().Wait(kPending);
}
template <int kPending, uint32_t kTiles>
BATON_DEVICE void WaitProducts(float (&)[kTiles][4]) {
  WaitProducts<kPending>();
}
template <uint32_t kTiles>
BATON_DEVICE void MultiplyGroup(float (&d)[kTiles][4], uint64_t a, uint64_t b, bool is_added) {
  emulation::BlockWarpgroups().Begin(
      {.d = &d[0][0], .tiles = kTiles, .is_added = is_added, .a_descriptor = a, .b_descriptor = b});
}
template <uint32_t kTiles>
BATON_DEVICE void MultiplyGroupByRows(float (&d)[kTiles][4], const uint32_t (&a)[4], uint64_t b,
                                      bool is_added) {
  emulation::BlockWarpgroups().Begin({.d = &d[0][0],
                                      .tiles = kTiles,
                                      .is_added = is_added,
                                      .a_in_registers = true,
                                      .a = {a[0], a[1], a[2], a[3]},
                                      .b_descriptor = b,
                                      .b_is_transposed = true});
}
template <int kRegisters>
BATON_DEVICE void GiveRegisters() {}
template <int kRegisters>
BATON_DEVICE void TakeRegisters() {}
#endif

}  // namespace baton::kernels::cuda
