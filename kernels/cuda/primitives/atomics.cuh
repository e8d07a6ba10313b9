#pragma once

#include "kernels/cuda/primitives/memory.cuh"

namespace baton::kernels::cuda {

// Adds to an element and returns what it was. Relaxed: orders nothing else. The order in which
// threads come is any, so only sums of integers keep their bits.
#if BATON_ON_DEVICE
template <template <typename> typename View, typename T>
BATON_DEVICE T AtomicAdd(const View<T>& view, size_t i, T value) {
  if constexpr (sizeof(T) == 8) {
    return T(atomicAdd(reinterpret_cast<unsigned long long*>(view.pointer(i)),
                       static_cast<unsigned long long>(value)));
  } else {
    return atomicAdd(view.pointer(i), value);
  }
}
#else
template <typename T>
BATON_DEVICE T AtomicAdd(const Global<T>& view, size_t i, T value) {
  if (!view.IsInside(i, sizeof(T))) return T{};
  view.allocation()->CheckAtomic(view.Offset(i), sizeof(T));
  T* at = view.pointer(i);
  const T before = *at;
  *at = before + value;
  return before;
}
template <typename T>
BATON_DEVICE T AtomicAdd(const Shared<T>& view, size_t i, T value) {
  if (!view.IsInside(i, sizeof(T))) return T{};
  emulation::SharedMemory& shared = emulation::BlockShared();
  shared.CheckAtomic(view.Offset(i), sizeof(T), emulation::Now());
  T before;
  std::memcpy(&before, shared.data() + view.Offset(i), sizeof(T));
  const T after = before + value;
  std::memcpy(shared.data() + view.Offset(i), &after, sizeof(T));
  return before;
}
#endif

}  // namespace baton::kernels::cuda
