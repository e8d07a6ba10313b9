#include "services/router/placement/kv_index/worker_numbers.h"

#include <algorithm>

namespace baton::router {

WorkerNumbers::WorkerNumbers(ReaderEpochs& epochs) : epochs_(epochs) {}

std::optional<WorkerNumber> WorkerNumbers::TakeHidden(KvSeat owner) {
  WorkerNumber number = 0;
  if (!free_.empty()) {
    number = free_.back();
    free_.pop_back();
  } else if (given_out_ < kWorkerNumbersMax) {
    number = static_cast<WorkerNumber>(given_out_++);
  } else {
    return std::nullopt;
  }
  owners_[number].store(uint64_t{owner.index} << 32 | owner.serial, std::memory_order_release);
  words_.store(std::max(words_.load(std::memory_order_relaxed), number / 64 + 1),
               std::memory_order_release);
  return number;
}

void WorkerNumbers::Show(WorkerNumber number) {
  std::atomic<uint64_t>& word = alive_[number / 64];
  word.store(word.load(std::memory_order_relaxed) | uint64_t{1} << (number % 64),
             std::memory_order_release);
  shown_.store(shown_.load(std::memory_order_relaxed) + 1, std::memory_order_release);
}

void WorkerNumbers::Retire(WorkerNumber number) {
  std::atomic<uint64_t>& word = alive_[number / 64];
  word.store(word.load(std::memory_order_relaxed) & ~(uint64_t{1} << (number % 64)),
             std::memory_order_release);
  retired_.Add(number, epochs_);
}

// Words are read one by one. Who read one before a number was shown in it, and another after the
// number that it replaces was retired there, sees that numbers were shown in between, since that is
// written between the two, and reads again.
void WorkerNumbers::ReadAlive(Alive& alive) const {
  uint64_t shown = shown_.load(std::memory_order_acquire);
  for (uint64_t before = shown + 1; before != shown;) {
    before = shown;
    alive.words = words_.load(std::memory_order_acquire);
    for (int i = 0; i < alive.words; ++i) alive.mask[i] = alive_[i].load(std::memory_order_acquire);
    shown = shown_.load(std::memory_order_acquire);
  }
}

const WorkerMask<kWorkerWordsMax>* WorkerNumbers::Sweeping() {
  if (sweeping_) return &swept_mask_;
  swept_mask_ = {};
  while (auto number = retired_.TakeUnseen(epochs_)) {
    swept_.push_back(*number);
    swept_mask_[*number / 64] |= uint64_t{1} << (*number % 64);
  }
  sweeping_ = !swept_.empty();
  return sweeping_ ? &swept_mask_ : nullptr;
}

void WorkerNumbers::EndSweep() {
  sweeping_ = false;
  for (WorkerNumber number : swept_) unlinked_.Add(number, epochs_);
  swept_.clear();
}

void WorkerNumbers::Reclaim() {
  while (auto number = unlinked_.TakeUnseen(epochs_)) free_.push_back(*number);
}

}  // namespace baton::router
