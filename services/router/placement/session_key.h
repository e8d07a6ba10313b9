#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "common/kv/block_hash.h"

// Keys are the same in every process and every build: several routers send a session to the same
// worker, also while one of them is newer than the others.
namespace baton::router {

// What the requests of a session have in common: the client's `user`; without one the prompt's
// first block, so that those who begin alike (a conversation, but also a common system prompt)
// meet; of a prompt that is shorter its `tokens`.
uint64_t SessionKeyOf(std::string_view user, std::span<const kv::BlockHash> prompt,
                      std::span<const int32_t> tokens);

// 64 bits of some bytes, well spread.
uint64_t KeyOf(std::string_view bytes);
// Of a pair, spread as well.
uint64_t MixKeys(uint64_t a, uint64_t b);

}  // namespace baton::router
