#include "kernels/checksum.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace baton::kernels {

uint64_t Checksum(const void* data, size_t bytes) { return XXH3_64bits(data, bytes); }

const std::byte* ChecksumSecret() {
  static_assert(sizeof(XXH3_kSecret) == 192);
  return reinterpret_cast<const std::byte*>(XXH3_kSecret);
}

}  // namespace baton::kernels
