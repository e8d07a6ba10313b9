#include "common/base/testing/event_queue.h"

#include <algorithm>
#include <utility>

namespace baton::simulation {
namespace {

uint64_t Fold(uint64_t hash, uint64_t value) {
  hash = (hash ^ value) * 0x9e3779b97f4a7c15u;
  return hash ^ (hash >> 29);
}

}  // namespace

void EventQueue::After(absl::Duration delay, std::string_view label, Work work) {
  heap_.push_back(
      {now_ + std::max(delay, absl::ZeroDuration()), ++next_number_, label, std::move(work)});
  std::push_heap(heap_.begin(), heap_.end());
}

bool EventQueue::RunNext() {
  if (heap_.empty()) return false;
  std::pop_heap(heap_.begin(), heap_.end());
  Event event = std::move(heap_.back());
  heap_.pop_back();
  now_ = event.at;
  label_ = event.label;
  ++events_;
  Note(static_cast<uint64_t>(absl::ToInt64Nanoseconds(now_)));
  for (const char c : label_) trace_ = Fold(trace_, static_cast<uint64_t>(c));
  event.work();
  return true;
}

absl::Duration EventQueue::Between(absl::Duration low, absl::Duration high) {
  const int64_t span = absl::ToInt64Microseconds(high - low);
  return low + absl::Microseconds(std::uniform_int_distribution<int64_t>(0, span)(random_));
}

void EventQueue::Note(uint64_t value) { trace_ = Fold(trace_, value); }

}  // namespace baton::simulation
