#pragma once

#include <bit>
#include <cstdint>

// Probability masses of sampling. Built without contraction, so that they have the same bits on
// every machine: a seed gives the same text on a laptop and in a fleet.
namespace baton::kernels {

// e^x for x in [-80, 0], about 1e-7 relative; exactly 1 at 0.
inline float ExpNonPositive(float x) {
  const float n = float(int32_t(x * 1.44269504f - 0.5f));
  const float r = (x - n * 0.693359375f) - n * -2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  return p * std::bit_cast<float>((int32_t(n) + 127) << 23);
}

constexpr float kMassFloor = -28;  // e^-28 < 2^-40: lighter tokens have no mass and are never drawn

// A weight e^x as 40-bit fixed point: sums are exact, so they are the same in whatever order they
// are taken.
inline uint64_t MassOfWeight(float weight) { return uint64_t(int64_t(weight * 0x1p40f)); }

// The unnormalised probability of a token; `x` = (logit - largest logit) / temperature.
inline uint64_t MassOf(float x) {
  return x > kMassFloor ? MassOfWeight(ExpNonPositive(x)) : 0;  // 0 also for NaN
}

// The part `share` of a whole, in the same units.
inline uint64_t ShareOf(uint64_t whole, float share) {
  return uint64_t(double(share) * double(whole));
}

}  // namespace baton::kernels
