#pragma once

#include "kernels/cuda/primitives/memory.cuh"

namespace baton::kernels::cuda {

// cp.async: 16 bytes from device to shared memory without passing through registers. A thread's
// copies form groups; WaitCopies<n> waits until at most n of its own groups are under way, and a
// SyncBlock after it makes them visible to the others.
#if BATON_ON_DEVICE
template <typename T>
BATON_DEVICE void CopyAsync16(const Shared<T>& to, size_t i, const Global<const T>& from,
                              size_t j) {
  const uint32_t address = static_cast<uint32_t>(__cvta_generic_to_shared(to.pointer(i)));
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(address), "l"(from.pointer(j))
               : "memory");
}
// The same, or sixteen zeros when there is nothing to copy.
template <typename T>
BATON_DEVICE void CopyAsync16OrZero(const Shared<T>& to, size_t i, const Global<const T>& from,
                                    size_t j, bool is_there) {
  const uint32_t address = static_cast<uint32_t>(__cvta_generic_to_shared(to.pointer(i)));
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(address),
               "l"(from.pointer(is_there ? j : 0)), "r"(is_there ? 16 : 0)
               : "memory");
}
BATON_DEVICE void CommitCopies() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int pending>
BATON_DEVICE void WaitCopies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(pending) : "memory");
}
#else
template <typename T>
BATON_DEVICE void CopyAsync16(const Shared<T>& to, size_t i, const Global<const T>& from,
                              size_t j) {
  if (!to.IsInside(i, 16) || !from.IsInside(j, 16)) return;
  from.allocation()->CheckRead(from.Offset(j), 16);
  emulation::BeginCopy(to.Offset(i), reinterpret_cast<const std::byte*>(from.pointer(j)), 16);
}
template <typename T>
BATON_DEVICE void CopyAsync16OrZero(const Shared<T>& to, size_t i, const Global<const T>& from,
                                    size_t j, bool is_there) {
  static constexpr Vec16 kZeros = {};
  if (is_there) return CopyAsync16(to, i, from, j);
  if (!to.IsInside(i, 16)) return;
  emulation::BeginCopy(to.Offset(i), reinterpret_cast<const std::byte*>(&kZeros), 16);
}
BATON_DEVICE void CommitCopies() { emulation::CommitCopies(); }
template <int pending>
BATON_DEVICE void WaitCopies() {
  emulation::WaitCopies(pending);
}
#endif

}  // namespace baton::kernels::cuda
