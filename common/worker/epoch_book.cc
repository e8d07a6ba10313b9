#include "common/worker/epoch_book.h"

namespace baton::worker {

absl::Status EpochBook::Begin(const std::string& caller, uint64_t epoch, uint64_t local_epoch) {
  absl::MutexLock lock(&mutex_);
  auto fenced = fenced_.find(caller);
  if (fenced != fenced_.end() && fenced->second.contains(epoch)) {
    return FailedPrecondition("epoch {} of {} was fenced before it began", epoch, caller);
  }
  if (!running_.emplace(Key{caller, epoch}, Running{local_epoch, {}}).second) {
    return absl::AlreadyExistsError(fmt::format("epoch {} of {} is under way", epoch, caller));
  }
  return absl::OkStatus();
}

void EpochBook::End(const std::string& caller, uint64_t epoch) {
  std::vector<std::function<void()>> waiting;
  {
    absl::MutexLock lock(&mutex_);
    auto found = running_.find({caller, epoch});
    if (found == running_.end()) return;
    waiting = std::move(found->second.waiting);
    running_.erase(found);
  }
  for (const auto& over : waiting) over();
}

std::optional<uint64_t> EpochBook::Fence(const std::string& caller, uint64_t epoch,
                                         std::function<void()> over) {
  {
    absl::MutexLock lock(&mutex_);
    std::set<uint64_t>& fenced = fenced_[caller];
    fenced.insert(epoch);
    if (fenced.size() > kFencedMax) fenced.erase(fenced.begin());
    if (auto found = running_.find({caller, epoch}); found != running_.end()) {
      found->second.waiting.push_back(std::move(over));
      return found->second.local_epoch;
    }
  }
  over();
  return std::nullopt;
}

}  // namespace baton::worker
