#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string_view>
#include <vector>

namespace baton::kv {

// Names the content of a full KV block and everything before it: 128 bits, chained from the parent, keyed
// by a salt (model, adapter, tenant). Equal hash = same tokens at the same positions = same KV bits.
struct BlockHash {
  uint64_t high = 0;
  uint64_t low = 0;
  friend auto operator<=>(const BlockHash&, const BlockHash&) = default;
  template <typename H>
  friend H AbslHashValue(H state, const BlockHash& hash) {
    return H::combine(std::move(state), hash.low);
  }
};

// Hashes of the full blocks of a prompt, first block first. tokens.size() / block_tokens entries.
// Used by engines and routers alike, so that both name the same block the same way.
std::vector<BlockHash> HashBlocks(std::span<const int32_t> tokens, int32_t block_tokens,
                                  std::string_view salt);

}  // namespace baton::kv
