#include "services/router/placement/kv_index/expected_prompts.h"

#include <algorithm>
#include <bit>

namespace baton::router {
namespace {

constexpr size_t kDense = 16;
constexpr size_t kStride = 8;
constexpr int64_t kTickMs = 64;

// The blocks that are written: the first 16, then every 8th.
size_t GridSize(size_t blocks) {
  return blocks <= kDense ? blocks : kDense + (blocks - kDense) / kStride;
}
size_t GridBlock(size_t index) {
  return index < kDense ? index : kDense + (index - kDense + 1) * kStride - 1;
}

uint32_t TicksOf(absl::Duration time) {
  return static_cast<uint32_t>(absl::ToInt64Milliseconds(time) / kTickMs);
}

}  // namespace

ExpectedPrompts::ExpectedPrompts(size_t slots)
    : buckets_(std::bit_ceil(std::max(slots, kBucket)) / kBucket), slots_(buckets_ * kBucket) {}

void ExpectedPrompts::Expect(const KvSeat& seat, std::span<const kv::BlockHash> prompt,
                             absl::Duration now, absl::Duration life) {
  if (prompt.empty()) return;
  const uint64_t packed = uint64_t{seat.index} << 32 | seat.serial;
  const uint32_t end = TicksOf(now + life) + 1;
  absl::MutexLock lock(&mutex_);
  last_end_.store(std::max(end, last_end_.load(std::memory_order_relaxed)),
                  std::memory_order_release);
  for (size_t i = 0; i < GridSize(prompt.size()); ++i) Write(prompt[GridBlock(i)], packed, end);
  Write(prompt.back(), packed, end);
}

// Whoever wrote a block of the grid wrote those before it: the deepest one that is here is found by
// bisection. Prompts that end elsewhere meet only their equals.
void ExpectedPrompts::Find(std::span<const kv::BlockHash> prompt, absl::Duration now,
                           KvMatches& matches) const {
  const uint32_t tick = TicksOf(now);
  if (prompt.empty() || last_end_.load(std::memory_order_acquire) <= tick) return;
  Workers workers = Look(prompt.back(), tick);
  size_t blocks = prompt.size();
  if (workers.count == 0) {
    if (Look(prompt.front(), tick).count == 0) return;
    size_t here = 0;  // as many grid blocks are known to be here
    size_t missing = GridSize(blocks) + 1;
    while (missing - here > 1) {
      const size_t middle = here + (missing - here) / 2;
      const Workers found = Look(prompt[GridBlock(middle - 1)], tick);
      (found.count > 0 ? here : missing) = middle;
      if (found.count > 0) workers = found;
    }
    if (here == 0) return;
    blocks = GridBlock(here - 1) + 1;
  }
  for (int i = 0; i < workers.count; ++i) {
    matches.AddExpected(workers.seats[i], static_cast<int32_t>(blocks));
  }
}

ExpectedPrompts::Slot* ExpectedPrompts::BucketOf(const kv::BlockHash& hash) const {
  const uint64_t mixed = (hash.low ^ (hash.high >> 32)) * 0x9e3779b97f4a7c15u;
  return &slots_[(mixed >> 32 & (buckets_ - 1)) * kBucket];
}

ExpectedPrompts::Workers ExpectedPrompts::Look(const kv::BlockHash& hash, uint32_t now) const {
  Slot* bucket = BucketOf(hash);
  for (size_t i = 0; i < kBucket; ++i) {
    const Slot& slot = bucket[i];
    const uint32_t version = slot.version.load(std::memory_order_acquire);
    if (version % 2 != 0 || slot.low.load(std::memory_order_acquire) != hash.low ||
        slot.high.load(std::memory_order_acquire) != hash.high) {
      continue;
    }
    Workers workers;
    for (int w = 0; w < kWorkers; ++w) {
      if (slot.ends[w].load(std::memory_order_acquire) <= now) continue;
      const uint64_t seat = slot.seats[w].load(std::memory_order_acquire);
      workers.seats[workers.count++] = {.index = static_cast<uint32_t>(seat >> 32),
                                        .serial = static_cast<uint32_t>(seat)};
    }
    // Written meanwhile: as good as not here.
    if (slot.version.load(std::memory_order_acquire) != version) continue;
    if (workers.count > 0) return workers;
  }
  return {};
}

// Its own, or else the one whose content dies first.
ExpectedPrompts::Slot& ExpectedPrompts::SlotFor(const kv::BlockHash& hash) {
  Slot* bucket = BucketOf(hash);
  Slot* oldest = nullptr;
  uint32_t oldest_end = ~uint32_t{0};
  for (size_t i = 0; i < kBucket; ++i) {
    Slot& slot = bucket[i];
    if (slot.low.load(std::memory_order_relaxed) == hash.low &&
        slot.high.load(std::memory_order_relaxed) == hash.high) {
      return slot;
    }
    uint32_t end = 0;
    for (const auto& of : slot.ends) end = std::max(end, of.load(std::memory_order_relaxed));
    if (oldest == nullptr || end < oldest_end) {
      oldest = &slot;
      oldest_end = end;
    }
  }
  return *oldest;
}

void ExpectedPrompts::Write(const kv::BlockHash& hash, uint64_t seat, uint32_t end) {
  Slot& slot = SlotFor(hash);
  const bool same = slot.low.load(std::memory_order_relaxed) == hash.low &&
                    slot.high.load(std::memory_order_relaxed) == hash.high;
  const uint32_t version = slot.version.load(std::memory_order_relaxed);
  slot.version.store(version + 1, std::memory_order_relaxed);
  // Releases keep every store behind the odd version.
  if (!same) {
    slot.high.store(hash.high, std::memory_order_release);
    slot.low.store(hash.low, std::memory_order_release);
    for (auto& of : slot.ends) of.store(0, std::memory_order_release);
  }
  int lane = 0;  // its own, or else the one that dies first
  for (int w = 0; w < kWorkers; ++w) {
    if (slot.seats[w].load(std::memory_order_relaxed) == seat) {
      lane = w;
      break;
    }
    if (slot.ends[w].load(std::memory_order_relaxed) <
        slot.ends[lane].load(std::memory_order_relaxed)) {
      lane = w;
    }
  }
  slot.seats[lane].store(seat, std::memory_order_release);
  slot.ends[lane].store(end, std::memory_order_release);
  slot.version.store(version + 2, std::memory_order_release);
}

}  // namespace baton::router
