#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "services/router/placement/kv_index/reader_epochs.h"

namespace baton::router {

// Small numbers stand for workers inside the index.
using WorkerNumber = uint16_t;
inline constexpr int kWorkerNumbersMax = 8192;
inline constexpr int kWorkerWordsMax = kWorkerNumbersMax / 64;

// A set of workers as one word, so that readers see it whole: up to four numbers in the word
// itself, beyond that a pointer to bitmaps. For each member it also keeps one mark, for the writer.
//
//   inline   four lanes of 16 bits: number + 1 | mark << 14; 0 = free lane
//   bitmaps  bit 63 set, the rest a pointer
using WorkerSet = std::atomic<uint64_t>;

// A copy of a set, as wide as the numbers in use.
template <int kWords>
using WorkerMask = std::array<uint64_t, kWords>;

// Operations on sets, and the bitmaps of those that have grown. One writer; LoadMembers and Holds
// from any thread within a visit.
class WorkerSets {
 public:
  explicit WorkerSets(ReaderEpochs& epochs) : epochs_(epochs) {}
  ~WorkerSets();
  WorkerSets(const WorkerSets&) = delete;
  WorkerSets& operator=(const WorkerSets&) = delete;

  static bool Holds(const WorkerSet& set, WorkerNumber worker) {
    const uint64_t word = set.load(std::memory_order_acquire);
    if ((word & kIsBitmaps) != 0) [[unlikely]] {
      return HoldsInBitmaps(word, worker);
    }
    return LaneOf(word, worker) < kLanes;
  }
  // For a LoadMembers that comes soon.
  static void Prefetch(const WorkerSet& set) {
    const uint64_t word = set.load(std::memory_order_acquire);
    if ((word & kIsBitmaps) == 0) return;
    const char* const bitmaps = reinterpret_cast<const char*>(word & ~kIsBitmaps);
    __builtin_prefetch(bitmaps);
    __builtin_prefetch(bitmaps + 64);
  }
  // Adds the members below 64 * kWords to `mask`.
  template <int kWords>
  static void LoadMembers(const WorkerSet& set, WorkerMask<kWords>& mask);

  // Requires that it is not a member.
  void Insert(WorkerSet& set, WorkerNumber worker) {
    if (set.load(std::memory_order_relaxed) == 0) {
      return set.store(worker + 1u, std::memory_order_release);
    }
    InsertBesideOthers(set, worker);
  }
  // Of a set that is empty, or has this member alone.
  static void SetOnlyMember(WorkerSet& set, WorkerNumber worker, bool mark) {
    set.store((worker + 1u) | (mark ? kMark : 0), std::memory_order_release);
  }
  // The rest requires that it is a member. Erase takes the mark with it.
  void Erase(WorkerSet& set, WorkerNumber worker) {
    const uint64_t word = set.load(std::memory_order_relaxed);
    if ((word & kIsBitmaps) != 0) [[unlikely]] {
      return EraseFromBitmaps(set, worker);
    }
    set.store(word & ~(kLane << (16 * LaneOf(word, worker))), std::memory_order_release);
  }
  static bool Marked(const WorkerSet& set, WorkerNumber worker) {
    const uint64_t word = set.load(std::memory_order_relaxed);
    if ((word & kIsBitmaps) != 0) [[unlikely]] {
      return MarkedInBitmaps(word, worker);
    }
    return (word & kMark << (16 * LaneOf(word, worker))) != 0;
  }
  static void SetMark(WorkerSet& set, WorkerNumber worker, bool mark) {
    const uint64_t word = set.load(std::memory_order_relaxed);
    if ((word & kIsBitmaps) != 0) [[unlikely]] {
      return SetMarkInBitmaps(word, worker, mark);
    }
    const uint64_t bit = kMark << (16 * LaneOf(word, worker));
    set.store(mark ? word | bit : word & ~bit, std::memory_order_release);
  }
  static std::vector<WorkerNumber> Members(const WorkerSet& set);
  // Is any member in `mask` (kWorkerWordsMax words)?
  static bool AnyOf(const WorkerSet& set, const WorkerMask<kWorkerWordsMax>& mask);
  static bool Empty(const WorkerSet& set) { return set.load(std::memory_order_relaxed) == 0; }

  // Bitmaps that nobody looks at any more are used again.
  void Reclaim();
  size_t bytes() const { return bytes_; }
  size_t unlinked() const { return unlinked_.size(); }

 private:
  struct Bitmaps;
  static constexpr uint64_t kIsBitmaps = uint64_t{1} << 63;
  static constexpr uint64_t kMark = 1 << 14;
  static constexpr uint64_t kNumber = kMark - 1;
  static constexpr uint64_t kLane = 0xffff;
  static constexpr int kLanes = 4;

  static Bitmaps* BitmapsOf(uint64_t word) {
    return (word & kIsBitmaps) != 0 ? reinterpret_cast<Bitmaps*>(word & ~kIsBitmaps) : nullptr;
  }
  // kLanes: it has none.
  static int LaneOf(uint64_t word, WorkerNumber worker) {
    int lane = 0;
    while (lane < kLanes && (word & kNumber) != worker + 1u) {
      word >>= 16;
      ++lane;
    }
    return lane;
  }
  static bool HoldsInBitmaps(uint64_t word, WorkerNumber worker);
  static bool MarkedInBitmaps(uint64_t word, WorkerNumber worker);
  static void SetMarkInBitmaps(uint64_t word, WorkerNumber worker, bool mark);
  void InsertBesideOthers(WorkerSet& set, WorkerNumber worker);
  void EraseFromBitmaps(WorkerSet& set, WorkerNumber worker);
  Bitmaps* Allocate(uint32_t words);
  void Spill(WorkerSet& set, uint32_t words);
  void ShrinkIfSmall(WorkerSet& set, Bitmaps* bitmaps);

  ReaderEpochs& epochs_;
  std::vector<Bitmaps*> owned_;                 // every one
  std::array<std::vector<Bitmaps*>, 16> free_;  // by log2 of words
  Unlinked<Bitmaps*> unlinked_;
  size_t bytes_ = 0;
};

// Two bitmaps in one allocation: members, then marks.
struct WorkerSets::Bitmaps {
  uint32_t words = 0;  // of each of the two; a power of two
  uint32_t members = 0;

  std::atomic<uint64_t>* bits() { return reinterpret_cast<std::atomic<uint64_t>*>(this + 1); }
  bool Get(uint32_t map, WorkerNumber worker) {
    const uint32_t word = worker / 64;
    if (word >= words) return false;
    return (bits()[map * words + word].load(std::memory_order_acquire) >> (worker % 64) & 1) != 0;
  }
  void Put(uint32_t map, WorkerNumber worker, bool bit) {
    std::atomic<uint64_t>& word = bits()[map * words + worker / 64];
    const uint64_t one = uint64_t{1} << (worker % 64);
    const uint64_t old = word.load(std::memory_order_relaxed);
    word.store(bit ? old | one : old & ~one, std::memory_order_release);
  }
};

template <int kWords>
void WorkerSets::LoadMembers(const WorkerSet& set, WorkerMask<kWords>& mask) {
  uint64_t word = set.load(std::memory_order_acquire);
  if (Bitmaps* bitmaps = BitmapsOf(word)) {
    const uint32_t words = bitmaps->words < kWords ? bitmaps->words : kWords;
    for (uint32_t i = 0; i < words; ++i) {
      mask[i] |= bitmaps->bits()[i].load(std::memory_order_acquire);
    }
    return;
  }
  for (; word != 0; word >>= 16) {
    const uint64_t lane = word & kNumber;
    if (lane != 0 && lane <= kWords * 64) mask[(lane - 1) / 64] |= uint64_t{1} << (lane - 1) % 64;
  }
}

}  // namespace baton::router
