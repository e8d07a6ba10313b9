#include "services/router/placement/kv_index/worker_set.h"

#include <algorithm>
#include <bit>
#include <new>

#include "common/base/check.h"

namespace baton::router {

static_assert(kWorkerNumbersMax < 1 << 14, "a lane holds number + 1 in 14 bits");

WorkerSets::~WorkerSets() {
  for (Bitmaps* bitmaps : owned_) ::operator delete(bitmaps);
}

bool WorkerSets::HoldsInBitmaps(uint64_t word, WorkerNumber worker) {
  return BitmapsOf(word)->Get(0, worker);
}

bool WorkerSets::MarkedInBitmaps(uint64_t word, WorkerNumber worker) {
  return BitmapsOf(word)->Get(1, worker);
}

void WorkerSets::SetMarkInBitmaps(uint64_t word, WorkerNumber worker, bool mark) {
  BitmapsOf(word)->Put(1, worker, mark);
}

void WorkerSets::InsertBesideOthers(WorkerSet& set, WorkerNumber worker) {
  const uint64_t word = set.load(std::memory_order_relaxed);
  Bitmaps* bitmaps = BitmapsOf(word);
  if (bitmaps == nullptr) {
    for (int lane = 0; lane < kLanes; ++lane) {
      if ((word >> (16 * lane) & kLane) != 0) continue;
      set.store(word | uint64_t{worker + 1u} << (16 * lane), std::memory_order_release);
      return;
    }
  }
  const uint32_t needed = std::bit_ceil(worker / 64u + 1u);
  if (bitmaps == nullptr || bitmaps->words < needed) Spill(set, needed);
  bitmaps = BitmapsOf(set.load(std::memory_order_relaxed));
  bitmaps->Put(0, worker, true);
  ++bitmaps->members;
}

void WorkerSets::EraseFromBitmaps(WorkerSet& set, WorkerNumber worker) {
  Bitmaps* bitmaps = BitmapsOf(set.load(std::memory_order_relaxed));
  bitmaps->Put(0, worker, false);
  bitmaps->Put(1, worker, false);
  --bitmaps->members;
  ShrinkIfSmall(set, bitmaps);
}

std::vector<WorkerNumber> WorkerSets::Members(const WorkerSet& set) {
  uint64_t word = set.load(std::memory_order_relaxed);
  std::vector<WorkerNumber> members;
  if (Bitmaps* bitmaps = BitmapsOf(word)) {
    for (uint32_t i = 0; i < bitmaps->words; ++i) {
      uint64_t bits = bitmaps->bits()[i].load(std::memory_order_relaxed);
      for (; bits != 0; bits &= bits - 1) {
        members.push_back(static_cast<WorkerNumber>(64 * i + std::countr_zero(bits)));
      }
    }
    return members;
  }
  for (; word != 0; word >>= 16) {
    if ((word & kNumber) != 0) members.push_back(static_cast<WorkerNumber>((word & kNumber) - 1));
  }
  return members;
}

bool WorkerSets::AnyOf(const WorkerSet& set, const WorkerMask<kWorkerWordsMax>& mask) {
  uint64_t word = set.load(std::memory_order_relaxed);
  if (Bitmaps* bitmaps = BitmapsOf(word)) {
    for (uint32_t i = 0; i < bitmaps->words; ++i) {
      if ((bitmaps->bits()[i].load(std::memory_order_relaxed) & mask[i]) != 0) return true;
    }
    return false;
  }
  for (; word != 0; word >>= 16) {
    const uint64_t lane = word & kNumber;
    if (lane != 0 && (mask[(lane - 1) / 64] >> (lane - 1) % 64 & 1) != 0) return true;
  }
  return false;
}

WorkerSets::Bitmaps* WorkerSets::Allocate(uint32_t words) {
  std::vector<Bitmaps*>& free = free_[std::countr_zero(words)];
  Bitmaps* bitmaps = nullptr;
  if (!free.empty()) {
    bitmaps = free.back();
    free.pop_back();
  } else {
    const size_t bytes = sizeof(Bitmaps) + 2 * words * sizeof(uint64_t);
    bitmaps = new (::operator new(bytes)) Bitmaps{.words = words};
    bytes_ += bytes + sizeof(Bitmaps*);
    owned_.push_back(bitmaps);
    for (uint32_t i = 0; i < 2 * words; ++i) new (&bitmaps->bits()[i]) std::atomic<uint64_t>(0);
  }
  bitmaps->members = 0;
  for (uint32_t i = 0; i < 2 * words; ++i) bitmaps->bits()[i].store(0, std::memory_order_relaxed);
  return bitmaps;
}

// Into bitmaps of at least `words` words each, which readers see only when they are filled.
void WorkerSets::Spill(WorkerSet& set, uint32_t words) {
  const uint64_t word = set.load(std::memory_order_relaxed);
  const std::vector<WorkerNumber> members = Members(set);
  for (WorkerNumber member : members) words = std::max(words, std::bit_ceil(member / 64u + 1u));
  Bitmaps* larger = Allocate(words);
  for (WorkerNumber member : members) {
    larger->Put(0, member, true);
    larger->Put(1, member, Marked(set, member));
  }
  larger->members = static_cast<uint32_t>(members.size());
  const auto pointer = reinterpret_cast<uint64_t>(larger);
  CHECK((pointer & kIsBitmaps) == 0, "a pointer with its top bit set");
  set.store(pointer | kIsBitmaps, std::memory_order_release);
  if (Bitmaps* old = BitmapsOf(word)) unlinked_.Add(old, epochs_);
}

// Well below the size at which it grew, so that a set at the border does not go to and fro.
void WorkerSets::ShrinkIfSmall(WorkerSet& set, Bitmaps* bitmaps) {
  if (bitmaps->members > kLanes / 2) return;
  uint64_t word = 0;
  int lane = 0;
  for (WorkerNumber member : Members(set)) {
    word |= (member + 1u + (bitmaps->Get(1, member) ? kMark : 0)) << (16 * lane++);
  }
  set.store(word, std::memory_order_release);
  unlinked_.Add(bitmaps, epochs_);
}

void WorkerSets::Reclaim() {
  while (auto bitmaps = unlinked_.TakeUnseen(epochs_)) {
    free_[std::countr_zero((*bitmaps)->words)].push_back(*bitmaps);
  }
}

}  // namespace baton::router
