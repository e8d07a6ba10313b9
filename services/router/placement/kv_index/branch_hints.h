#pragma once

#include <array>
#include <atomic>
#include <cstdint>

#include "common/kv/block_hash.h"

namespace baton::router {

// Where prompts that begin with the same block parted last, in blocks: a good place to look first,
// since the next prompt with this beginning (a system prompt, a document) likely parts there too.
// Only a hint: who uses it probes both sides. Written by look-ups, and only when it changes. Any
// thread.
class BranchHints {
 public:
  int32_t Of(const kv::BlockHash& first) const {
    const uint64_t hint = At(first).load(std::memory_order_relaxed);
    return hint >> 32 == first.high >> 32 ? static_cast<int32_t>(hint) : 0;
  }
  void Set(const kv::BlockHash& first, int32_t blocks) const {
    const uint64_t hint = first.high >> 32 << 32 | static_cast<uint32_t>(blocks);
    std::atomic<uint64_t>& at = At(first);
    if (at.load(std::memory_order_relaxed) != hint) at.store(hint, std::memory_order_relaxed);
  }

 private:
  static constexpr size_t kHints = 4096;
  std::atomic<uint64_t>& At(const kv::BlockHash& first) const {
    return hints_[first.low >> 32 & (kHints - 1)];
  }
  mutable std::array<std::atomic<uint64_t>, kHints> hints_{};
};

}  // namespace baton::router
