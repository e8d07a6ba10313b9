#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

namespace baton::kv {

// Names the content of a full KV block and everything before it: 128 bits, chained from the parent,
// keyed by a salt (model, adapter, tenant). Equal hash = same tokens at the same positions = same
// KV bits.
struct BlockHash {
  uint64_t high = 0;
  uint64_t low = 0;
  friend auto operator<=>(const BlockHash&, const BlockHash&) = default;
  template <typename H>
  friend H AbslHashValue(H state, const BlockHash& hash) {
    return H::combine(std::move(state), hash.low);
  }
};

// Makes block hashes for one salt. Collision-resistant also against somebody who knows the salt and
// picks the tokens (SHA-256, cut to 128 bits): a collision would serve one user's context to
// another, and salts are often guessable. Costs about 0.13 us per block of 16 tokens. Not
// thread-safe; cheap to make.
class BlockHasher {
 public:
  explicit BlockHasher(std::string_view salt);
  ~BlockHasher();
  BlockHasher(BlockHasher&&) noexcept;
  BlockHasher& operator=(BlockHasher&&) noexcept;

  // The hash of a full block of `tokens` that follows `parent`; all zero for a sequence's first
  // block.
  BlockHash Next(const BlockHash& parent, std::span<const int32_t> tokens);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Hashes of the full blocks of a prompt, first block first. tokens.size() / block_tokens entries.
// Used by engines and routers alike, so that both name the same block the same way.
std::vector<BlockHash> HashBlocks(std::span<const int32_t> tokens, int32_t block_tokens,
                                  std::string_view salt);

}  // namespace baton::kv
