#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <span>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/kv/block_hash.h"
#include "services/router/placement/kv_index/huge_pages.h"
#include "services/router/placement/kv_index/kv_matches.h"

namespace baton::router {

// Prompts that were placed a moment ago: their workers will hold them soon. Written ahead at
// placement, so that a second equal prompt meets the first before any event can tell of it; an
// entry dies by itself.
//
// Bounded and frugal rather than complete: only some blocks of a prompt are written (the first 16,
// every 8th after them, and the last), each remembers its last three workers, and old entries give
// way to new ones. It may forget, but never names a worker the prompt was not placed on. Expect
// takes a lock; Find takes none. Any thread.
class ExpectedPrompts {
 public:
  // Memory: 64 bytes each.
  explicit ExpectedPrompts(size_t slots = 1 << 16);

  void Expect(const KvSeat& seat, std::span<const kv::BlockHash> prompt, absl::Duration now,
              absl::Duration life) ABSL_LOCKS_EXCLUDED(mutex_);
  // Adds the workers of the longest expected match.
  void Find(std::span<const kv::BlockHash> prompt, absl::Duration now, KvMatches& matches) const;

 private:
  static constexpr int kWorkers = 3;
  static constexpr size_t kBucket = 4;
  // Readers take a copy and look whether `version` was even and is still the same.
  struct alignas(64) Slot {
    std::atomic<uint32_t> version = 0;
    std::array<std::atomic<uint32_t>, kWorkers> ends{};  // of life, in ticks
    std::atomic<uint64_t> high = 0;
    std::atomic<uint64_t> low = 0;
    std::array<std::atomic<uint64_t>, kWorkers> seats{};  // index << 32 | serial
  };
  static_assert(sizeof(Slot) == 64);
  struct Workers {
    int count = 0;
    std::array<KvSeat, kWorkers> seats;
  };
  Slot* BucketOf(const kv::BlockHash& hash) const;
  Workers Look(const kv::BlockHash& hash, uint32_t now) const;
  Slot& SlotFor(const kv::BlockHash& hash) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Write(const kv::BlockHash& hash, uint64_t seat, uint32_t end)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const size_t buckets_;
  const HugeArray<Slot> slots_;
  std::atomic<uint32_t> last_end_ = 0;  // nothing lives longer
  absl::Mutex mutex_;
};

}  // namespace baton::router
