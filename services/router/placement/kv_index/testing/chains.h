#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "common/engine/observer.h"
#include "common/kv/block_hash.h"

// Prompts and events for tests and benchmarks of the index.
namespace baton::router::testing {

// A name spread over 128 bits, like a real one.
inline kv::BlockHash HashOf(uint64_t stream, uint64_t block) {
  const auto mix = [](uint64_t x) {
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
  };
  return {.high = mix(stream * 0x9e3779b97f4a7c15u + mix(block + 1)),
          .low = mix(stream ^ mix(~block))};
}

// Blocks of a prompt: the same stream has the same blocks, and a longer chain continues a shorter.
inline std::vector<kv::BlockHash> Chain(std::string_view stream, size_t blocks) {
  uint64_t number = 14695981039346656037u;
  for (const char c : stream) number = (number ^ static_cast<uint8_t>(c)) * 1099511628211u;
  std::vector<kv::BlockHash> chain;
  for (size_t i = 0; i < blocks; ++i) chain.push_back(HashOf(number, i));
  return chain;
}

// Events that store or drop blocks [begin, end) of a prompt.
inline engine::KvEvents Store(uint64_t number, const std::vector<kv::BlockHash>& prompt,
                              size_t begin, size_t end) {
  engine::KvEvents events{.number = number};
  for (size_t i = begin; i < end; ++i) {
    events.stored.push_back({prompt[i], i == 0 ? kv::BlockHash() : prompt[i - 1]});
  }
  return events;
}
inline engine::KvEvents Drop(uint64_t number, const std::vector<kv::BlockHash>& prompt,
                             size_t begin, size_t end) {
  engine::KvEvents events{.number = number};
  for (size_t i = begin; i < end; ++i) events.removed.push_back(prompt[i]);
  return events;
}

}  // namespace baton::router::testing
