#pragma once

#include "kernels/cuda/primitives/platform.cuh"

#if !BATON_ON_DEVICE
#include <cmath>
#endif

namespace baton::kernels::cuda {

constexpr float kLog2E = 1.44269504088896340736f;
constexpr float kMinusInfinity = -__builtin_huge_valf();

// The fast ones: one instruction each, within 2 ulp. The emulation's are exact, so tests compare
// with a tolerance.
#if BATON_ON_DEVICE
BATON_DEVICE float Exp2(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
BATON_DEVICE float ReciprocalSqrt(float x) { return rsqrtf(x); }
BATON_DEVICE float Divide(float x, float y) { return __fdividef(x, y); }  // |y| < 2^126
BATON_DEVICE float MultiplyAdd(float a, float b, float c) { return __fmaf_rn(a, b, c); }
BATON_DEVICE float Larger(float a, float b) { return fmaxf(a, b); }
// Products and sums that are never fused: the same bits as on the host.
BATON_DEVICE float RoundedProduct(float a, float b) { return __fmul_rn(a, b); }
BATON_DEVICE float RoundedSum(float a, float b) { return __fadd_rn(a, b); }
BATON_DEVICE float RoundedQuotient(float a, float b) { return __fdiv_rn(a, b); }
BATON_DEVICE uint64_t HighProduct(uint64_t a, uint64_t b) { return __umul64hi(a, b); }
#else
BATON_DEVICE float Exp2(float x) { return std::exp2(x); }
BATON_DEVICE float ReciprocalSqrt(float x) { return 1 / std::sqrt(x); }
BATON_DEVICE float Divide(float x, float y) { return x / y; }
BATON_DEVICE float MultiplyAdd(float a, float b, float c) { return std::fma(a, b, c); }
BATON_DEVICE float Larger(float a, float b) { return std::fmax(a, b); }
BATON_DEVICE float RoundedProduct(float a, float b) { return a * b; }
BATON_DEVICE float RoundedSum(float a, float b) { return a + b; }
BATON_DEVICE float RoundedQuotient(float a, float b) { return a / b; }
BATON_DEVICE uint64_t HighProduct(uint64_t a, uint64_t b) {
  return uint64_t(static_cast<unsigned __int128>(a) * b >> 64);
}
#endif

BATON_DEVICE int32_t Larger(int32_t a, int32_t b) { return a > b ? a : b; }
BATON_DEVICE int32_t Smaller(int32_t a, int32_t b) { return a < b ? a : b; }

BATON_DEVICE float Exp(float x) { return Exp2(x * kLog2E); }

}  // namespace baton::kernels::cuda
