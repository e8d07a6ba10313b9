#pragma once

#include <cstddef>
#include <optional>
#include <string>

namespace baton::kernels::cuda {

// Why something cannot be done, in words that name the field and the limit; empty: it can, or was.
using Error = std::optional<std::string>;

// A cudaStream_t; null is the default stream. Borrowed.
struct Stream {
  void* handle = nullptr;
};

// What launches are chosen by.
struct DeviceTraits {
  int compute_capability = 0;  // 90 for sm_90
  int multiprocessors = 0;
  size_t shared_bytes_per_block = 0;  // what one block may ask for
  // Kernels on warpgroups (wgmma, TMA: sm_90 alone) may be chosen.
  bool has_warpgroups = false;
};

// The smallest device the kernels are compiled for: plans that fit it fit all.
constexpr DeviceTraits kSmallestDevice = {
    .compute_capability = 80, .multiprocessors = 16, .shared_bytes_per_block = 99 << 10};

}  // namespace baton::kernels::cuda
