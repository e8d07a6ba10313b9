#pragma once

#include <cstdint>

namespace baton::kernels::cuda {

// 1, 2, 3, 4, 6, 8, 12, 16, 24, …: the smallest of them that is not smaller than `count`. What is
// filled up to one of these is at most a third of all, and there are 2 log2(n) of them up to n: so
// few sizes of batches, and of contexts, have a graph each.
constexpr int32_t BucketOf(int32_t count) {
  int32_t power = 1;
  while (power < count) power *= 2;
  const int32_t between = power / 4 * 3;
  return between >= count ? between : power;
}

}  // namespace baton::kernels::cuda
