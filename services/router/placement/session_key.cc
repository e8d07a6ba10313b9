#include "services/router/placement/session_key.h"

namespace baton::router {
namespace {

// The finalizer of SplitMix64: every bit of the input reaches every bit of the output.
uint64_t Spread(uint64_t x) {
  x ^= x >> 30;
  x *= 0xbf58476d1ce4e5b9;
  x ^= x >> 27;
  x *= 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

}  // namespace

uint64_t MixKeys(uint64_t a, uint64_t b) { return Spread(Spread(a) + 0x9e3779b97f4a7c15 + b); }

// FNV-1a: a few nanoseconds for an id, and no library whose hashes change with its version.
uint64_t KeyOf(std::string_view bytes) {
  uint64_t hash = 0xcbf29ce484222325;
  for (const char c : bytes) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  return Spread(hash);
}

uint64_t SessionKeyOf(std::string_view user, std::span<const kv::BlockHash> prompt,
                      std::span<const int32_t> tokens) {
  if (!user.empty()) return KeyOf(user);
  if (!prompt.empty()) return prompt.front().low;
  uint64_t key = 0;
  for (const int32_t token : tokens) key = MixKeys(key, static_cast<uint32_t>(token));
  return key;
}

}  // namespace baton::router
