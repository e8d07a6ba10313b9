#pragma once

#include "kernels/cuda/primitives/bf16.cuh"
#include "kernels/cuda/primitives/math.cuh"

namespace baton::kernels::cuda {

// kernels/sampling/mass.h on a device, bit for bit: no product is fused with a sum. Masses are
// integers, so their sums are the same in whatever order threads come.
constexpr float kMassFloor = -28;

BATON_DEVICE float ExpNonPositive(float x) {
  const float n = float(int32_t(RoundedSum(RoundedProduct(x, 1.44269504f), -0.5f)));
  const float r = RoundedSum(RoundedSum(x, -RoundedProduct(n, 0.693359375f)),
                             -RoundedProduct(n, -2.12194440e-4f));
  float p = 1.9875691500e-4f;
  p = RoundedSum(RoundedProduct(p, r), 1.3981999507e-3f);
  p = RoundedSum(RoundedProduct(p, r), 8.3334519073e-3f);
  p = RoundedSum(RoundedProduct(p, r), 4.1665795894e-2f);
  p = RoundedSum(RoundedProduct(p, r), 1.6666665459e-1f);
  p = RoundedSum(RoundedProduct(p, r), 5.0000001201e-1f);
  p = RoundedSum(RoundedSum(RoundedProduct(RoundedProduct(p, r), r), r), 1.0f);
  return RoundedProduct(p, FloatOfBits(uint32_t(int32_t(n) + 127) << 23));
}

BATON_DEVICE uint64_t MassOf(float x) {
  return x > kMassFloor ? uint64_t(int64_t(RoundedProduct(ExpNonPositive(x), 0x1p40f))) : 0;
}

BATON_DEVICE uint64_t ShareOf(uint64_t whole, float share) {
  return uint64_t(double(share) * double(whole));
}

}  // namespace baton::kernels::cuda
