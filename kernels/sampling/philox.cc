#include <cstdint>

#include "kernels/sampling.h"

namespace baton::kernels {
namespace {

struct Words {
  uint32_t w[4];
};

// One of the ten rounds: two 32x32 products, crossed over and mixed with the key.
Words Round(const Words& in, uint32_t key0, uint32_t key1) {
  const uint64_t a = uint64_t{0xD2511F53u} * in.w[0];
  const uint64_t b = uint64_t{0xCD9E8D57u} * in.w[2];
  return {{uint32_t(b >> 32) ^ in.w[1] ^ key0, uint32_t(b), uint32_t(a >> 32) ^ in.w[3] ^ key1,
           uint32_t(a)}};
}

}  // namespace

float UniformAt(uint64_t seed, uint64_t counter) {
  uint32_t key0 = uint32_t(seed), key1 = uint32_t(seed >> 32);
  Words words = {{uint32_t(counter), uint32_t(counter >> 32), 0, 0}};
  for (int round = 0; round < 10; ++round) {
    words = Round(words, key0, key1);
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
  return float(words.w[0] >> 8) * 0x1p-24f;
}

}  // namespace baton::kernels
