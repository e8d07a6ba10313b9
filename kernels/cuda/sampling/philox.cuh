#pragma once

#include "kernels/cuda/primitives/platform.cuh"

namespace baton::kernels::cuda {

// UniformAt() of kernels/sampling.h on a device: Philox4x32-10, its first word as a float in [0, 1)
// with 24 bits.
BATON_DEVICE float UniformAt(uint64_t seed, uint64_t counter) {
  uint32_t key0 = uint32_t(seed), key1 = uint32_t(seed >> 32);
  uint32_t words[4] = {uint32_t(counter), uint32_t(counter >> 32), 0, 0};
  BATON_UNROLL
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = uint64_t{0xD2511F53u} * words[0];
    const uint64_t b = uint64_t{0xCD9E8D57u} * words[2];
    words[0] = uint32_t(b >> 32) ^ words[1] ^ key0;
    words[1] = uint32_t(b);
    words[2] = uint32_t(a >> 32) ^ words[3] ^ key1;
    words[3] = uint32_t(a);
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
  return float(words[0] >> 8) * 0x1p-24f;
}

}  // namespace baton::kernels::cuda
