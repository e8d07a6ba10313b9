#pragma once

#include <cstddef>
#include <cstdint>

namespace baton::kernels {

// A fast non-cryptographic 64-bit checksum (XXH3) of host memory: what a KV block carries across a
// hand-over. The same bytes give the same value on every machine and in every build.
uint64_t Checksum(const void* data, size_t bytes);

// The 192 bytes that XXH3 mixes with the data: what a device needs to compute the same.
const std::byte* ChecksumSecret();

}  // namespace baton::kernels
