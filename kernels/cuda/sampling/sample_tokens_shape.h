#pragma once

#include <cstddef>
#include <cstdint>

namespace baton::kernels::cuda {

// The sizes that sample_tokens.cu is compiled with, so that choose.cc counts the same shared
// memory.
struct SampleTokensShape {
  static constexpr uint32_t kThreadsMax = 1024;
  static constexpr uint32_t kBins = 512;
  static constexpr uint32_t kCandidates = 512;  // so few are compared with each other
  static constexpr uint32_t kScratch = kThreadsMax / 32;

  // A bin's and a candidate's mass, a bin's count, a candidate's key, scratch, what was found.
  static constexpr size_t kSharedBytes =
      kBins * (8 + 4) + kCandidates * (8 + 8) + kScratch * 8 + 2 * 8 + 16;
};

}  // namespace baton::kernels::cuda
