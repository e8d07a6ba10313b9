#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/cuda/launch/device.h"
#include "kernels/cuda/launch/shape.h"

namespace baton::kernels::cuda {

// sums[i] = Checksum (kernels/checksum.h) of `piece_bytes` at base + offsets[i]: the same XXH3 that
// the host computes, so either side of a hand-over may be on a GPU.
struct BlockChecksumArgs {
  const std::byte* base = nullptr;    // device
  const uint64_t* offsets = nullptr;  // device, [num_pieces], multiples of 16
  int32_t num_pieces = 0;
  size_t piece_bytes = 0;    // a multiple of 16, at least kChecksumBytesMin
  uint64_t* sums = nullptr;  // device, [num_pieces]
};

constexpr size_t kChecksumBytesMin = 256;  // XXH3 treats up to 240 bytes in another way

// Kilobytes whose sums a block of threads prepares side by side, four threads for each.
constexpr uint32_t kChecksumThreads = 256;
constexpr uint32_t kChecksumKilobytes = kChecksumThreads / 4;
constexpr size_t ChecksumSharedBytes() { return kChecksumKilobytes * 8 * sizeof(uint64_t); }

Error Check(const BlockChecksumArgs& args);
LaunchShape Choose(const BlockChecksumArgs& args, const DeviceTraits& device);
Error Launch(const BlockChecksumArgs& args, const LaunchShape& shape, Stream stream);

}  // namespace baton::kernels::cuda
