#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace baton::kernels {

// A fast non-cryptographic 64-bit checksum (XXH3) of host memory: what a KV block carries across a
// hand-over. The same bytes give the same value on every machine and in every build.
uint64_t Checksum(const void* data, size_t bytes);
// The same over pieces that do not lie together, as if they did, in their order.
uint64_t Checksum(std::span<const std::span<const std::byte>> pieces);

// The 192 bytes that XXH3 mixes with the data: what a device needs to compute the same.
const std::byte* ChecksumSecret();

}  // namespace baton::kernels
