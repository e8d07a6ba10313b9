#include "kernels/checksum.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace baton::kernels {

uint64_t Checksum(const void* data, size_t bytes) { return XXH3_64bits(data, bytes); }

uint64_t Checksum(std::span<const std::span<const std::byte>> pieces) {
  if (pieces.size() == 1) return Checksum(pieces[0].data(), pieces[0].size());
  XXH3_state_t state;
  XXH3_64bits_reset(&state);
  for (const std::span<const std::byte> piece : pieces) {
    XXH3_64bits_update(&state, piece.data(), piece.size());
  }
  return XXH3_64bits_digest(&state);
}

const std::byte* ChecksumSecret() {
  static_assert(sizeof(XXH3_kSecret) == 192);
  return reinterpret_cast<const std::byte*>(XXH3_kSecret);
}

}  // namespace baton::kernels
