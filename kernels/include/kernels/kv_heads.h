#pragma once

#include <cstdint>

namespace baton::kernels {

// Neighbouring KV heads [first, first + count).
struct KvHeads {
  int32_t first = 0;
  int32_t count = 0;
  friend bool operator==(const KvHeads&, const KvHeads&) = default;
};

// Whether `num_kv_heads` can be dealt out to `num_ranks`: each has the same number of heads, or,
// where there are fewer heads than ranks, each head is on the same number of ranks.
constexpr bool CanDealKvHeads(int32_t num_kv_heads, int32_t num_ranks) {
  return num_kv_heads > 0 && num_ranks > 0 &&
         (num_kv_heads % num_ranks == 0 || num_ranks % num_kv_heads == 0);
}

// The KV heads of a model that rank `rank` of `num_ranks` keeps: part of what two workers agree on,
// so that each can tell where the other's bytes lie. Only where CanDealKvHeads().
constexpr KvHeads KvHeadsOf(int32_t num_kv_heads, int32_t rank, int32_t num_ranks) {
  if (num_kv_heads >= num_ranks) {
    const int32_t each = num_kv_heads / num_ranks;
    return {rank * each, each};
  }
  return {rank / (num_ranks / num_kv_heads), 1};
}

}  // namespace baton::kernels
