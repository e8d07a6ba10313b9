#pragma once

#include "kernels/cuda/primitives/math.cuh"
#include "kernels/cuda/primitives/platform.cuh"

namespace baton::kernels::cuda {

// Shuffles and votes of a whole warp: all 32 lanes come, always.
#if BATON_ON_DEVICE
constexpr uint32_t kAllLanes = 0xffffffffu;
template <typename T>
BATON_DEVICE T ShuffleXor(T value, uint32_t mask) {
  return __shfl_xor_sync(kAllLanes, value, int(mask));
}
template <typename T>
BATON_DEVICE T ShuffleFrom(T value, uint32_t lane) {
  return __shfl_sync(kAllLanes, value, int(lane));
}
BATON_DEVICE uint32_t Ballot(bool vote) { return __ballot_sync(kAllLanes, vote); }
#else
template <typename T>
BATON_DEVICE T ShuffleXor(T value, uint32_t mask) {
  struct In {
    T value;
    uint32_t mask;
  };
  const In in = {value, mask};
  T out;
  emulation::WarpMeets("ShuffleXor", &in, sizeof in, &out, sizeof out,
                       [](emulation::WarpSlots& slots) {
                         for (uint32_t lane = 0; lane < kWarpLanes; ++lane) {
                           const uint32_t from = (lane ^ slots.In<In>(lane).mask) % kWarpLanes;
                           slots.Out<T>(lane) = slots.In<In>(from).value;
                         }
                       });
  return out;
}
template <typename T>
BATON_DEVICE T ShuffleFrom(T value, uint32_t lane) {
  struct In {
    T value;
    uint32_t lane;
  };
  const In in = {value, lane};
  T out;
  emulation::WarpMeets("ShuffleFrom", &in, sizeof in, &out, sizeof out,
                       [](emulation::WarpSlots& slots) {
                         for (uint32_t lane = 0; lane < kWarpLanes; ++lane) {
                           const uint32_t from = slots.In<In>(lane).lane % kWarpLanes;
                           slots.Out<T>(lane) = slots.In<In>(from).value;
                         }
                       });
  return out;
}
BATON_DEVICE uint32_t Ballot(bool vote) {
  uint32_t out;
  emulation::WarpMeets("Ballot", &vote, sizeof vote, &out, sizeof out,
                       [](emulation::WarpSlots& slots) {
                         uint32_t votes = 0;
                         for (uint32_t lane = 0; lane < kWarpLanes; ++lane) {
                           votes |= uint32_t{slots.In<bool>(lane)} << lane;
                         }
                         for (uint32_t lane = 0; lane < kWarpLanes; ++lane) {
                           slots.Out<uint32_t>(lane) = votes;
                         }
                       });
  return out;
}
#endif

// The same tree in every lane, so every lane has the same bits.
BATON_DEVICE float WarpSum(float value) {
  BATON_UNROLL
  for (uint32_t mask = kWarpLanes / 2; mask > 0; mask /= 2) value += ShuffleXor(value, mask);
  return value;
}
BATON_DEVICE float WarpMax(float value) {
  BATON_UNROLL
  for (uint32_t mask = kWarpLanes / 2; mask > 0; mask /= 2) {
    value = Larger(value, ShuffleXor(value, mask));
  }
  return value;
}

}  // namespace baton::kernels::cuda
