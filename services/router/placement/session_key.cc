#include "services/router/placement/session_key.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

// XXH3 gives the same values in every release since 0.8.
namespace baton::router {

uint64_t MixKeys(uint64_t a, uint64_t b) { return XXH3_64bits_withSeed(&b, sizeof b, a); }

uint64_t KeyOf(std::string_view bytes) { return XXH3_64bits(bytes.data(), bytes.size()); }

uint64_t SessionKeyOf(std::string_view user, std::span<const kv::BlockHash> prompt,
                      std::span<const int32_t> tokens) {
  if (!user.empty()) return KeyOf(user);
  if (!prompt.empty()) return prompt.front().low;
  return XXH3_64bits(tokens.data(), tokens.size_bytes());
}

}  // namespace baton::router
