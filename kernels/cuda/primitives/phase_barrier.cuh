#pragma once

#include "kernels/cuda/launch/tensor_map.h"
#include "kernels/cuda/primitives/bf16.cuh"
#include "kernels/cuda/primitives/memory.cuh"

#if !BATON_ON_DEVICE
#include "kernels/cuda/emulation/phase_barriers.h"
#endif

// Barriers in shared memory at which some threads arrive and others wait (mbarriers), and the
// copies of boxes that arrive there too (TMA). From sm_90 on.
//
// A barrier counts phases; a phase ends when as many threads have arrived as MakeBarrier said and
// all bytes that they announced are there. WaitPhase waits for the end of the phase of this parity:
// 0 for the first, 1 for the second, and so on; the phase before the first is one of parity 1 and
// has ended.
namespace baton::kernels::cuda {

// What a kernel is given of a matrix whose boxes it copies.
#if BATON_ON_DEVICE
using BoxSource = TensorMap;
inline Error MakeBoxSource(const MatrixBoxes& matrix, BoxSource* source) {
  return Encode(matrix, source);
}
#else
using BoxSource = MatrixBoxes;
inline Error MakeBoxSource(const MatrixBoxes& matrix, BoxSource* source) {
  *source = matrix;
  return std::nullopt;
}
#endif

#if BATON_ON_DEVICE
BATON_DEVICE uint32_t SharedAddress(const void* pointer) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(pointer));
}
// By one thread. PublishBarriers() and a SyncBlock come before anybody uses them.
BATON_DEVICE void MakeBarrier(const Shared<uint64_t>& barriers, uint32_t i, uint32_t arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(SharedAddress(barriers.pointer(i))),
               "r"(arrivals)
               : "memory");
}
BATON_DEVICE void PublishBarriers() {
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}
BATON_DEVICE void Arrive(const Shared<uint64_t>& barriers, uint32_t i) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(SharedAddress(barriers.pointer(i)))
               : "memory");
}
BATON_DEVICE void ArriveExpecting(const Shared<uint64_t>& barriers, uint32_t i, uint32_t bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(
                   SharedAddress(barriers.pointer(i))),
               "r"(bytes)
               : "memory");
}
BATON_DEVICE void WaitPhase(const Shared<uint64_t>& barriers, uint32_t i, uint32_t parity) {
  const uint32_t address = SharedAddress(barriers.pointer(i));
  uint32_t has_ended = 0;
  do {
    asm volatile(
        "{\n.reg .pred p;\n"
        "mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\n"
        "selp.u32 %0, 1, 0, p;\n}"
        : "=r"(has_ended)
        : "r"(address), "r"(parity)
        : "memory");
  } while (has_ended == 0);
}
// After writing shared memory that a product or a copy of boxes is to find: by who wrote, before
// the barrier at which the others learn of it.
BATON_DEVICE void FenceForEngines() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }
// Begins the copy of the box at this row and column, which arrives at barrier j. One thread's.
BATON_DEVICE void CopyBoxAsync(const BoxSource& from, int32_t column, int32_t row,
                               const Shared<Bf16>& to, uint32_t i, const Shared<uint64_t>& barriers,
                               uint32_t j) {
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], "
      "[%1, {%2, %3}], [%4];" ::"r"(SharedAddress(to.pointer(i))),
      "l"(&from), "r"(column), "r"(row), "r"(SharedAddress(barriers.pointer(j)))
      : "memory");
}
#else
BATON_DEVICE void MakeBarrier(const Shared<uint64_t>& barriers, uint32_t i, uint32_t arrivals) {
  barriers[i] = arrivals;
  emulation::BlockBarriers().Make(barriers.Offset(i), arrivals);
}
BATON_DEVICE void PublishBarriers() { emulation::FenceForEngines(); }
BATON_DEVICE void Arrive(const Shared<uint64_t>& barriers, uint32_t i) {
  emulation::BlockBarriers().Arrive(barriers.Offset(i), 0);
}
BATON_DEVICE void ArriveExpecting(const Shared<uint64_t>& barriers, uint32_t i, uint32_t bytes) {
  emulation::BlockBarriers().Arrive(barriers.Offset(i), bytes);
}
BATON_DEVICE void WaitPhase(const Shared<uint64_t>& barriers, uint32_t i, uint32_t parity) {
  emulation::BlockBarriers().Wait(barriers.Offset(i), parity);
}
BATON_DEVICE void FenceForEngines() { emulation::FenceForEngines(); }
BATON_DEVICE void CopyBoxAsync(const BoxSource& from, int32_t column, int32_t row,
                               const Shared<Bf16>& to, uint32_t i, const Shared<uint64_t>& barriers,
                               uint32_t j) {
  emulation::BlockBarriers().CopyBox(from, to.Offset(i), column, row, barriers.Offset(j));
}
#endif

}  // namespace baton::kernels::cuda
